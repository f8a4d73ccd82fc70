"""Which backend an executor gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bsbpool.futures.backend import Backend
from bsbpool.futures.dispatcher_thread import DispatcherThread, waiting
from bsbpool.running import running


class Description(NamedTuple):
    """What an executor was made of."""

    service: Any
    root: int
    max_workers: int | None
    initializer: Callable[..., Any] | None
    initargs: tuple[Any, ...]
    anywhere: bool
    """Whether no communicator was given."""


def gather(of: Description, collective: bool) -> Backend | None:
    """Return a backend that has started; on a rank that works, work and then return None.

    Parameters
    ----------
    of : Description
        The executor.
    collective : bool
        Whether all ranks came here.
    """
    if running.inside_job:
        return _started(_thread(of))  # a job is on one rank alone
    if _takes_who_waits(of):
        dispatcher_thread = waiting.dispatcher_thread_for(of.max_workers)
        return _started(_thread(of)) if dispatcher_thread is None else _of_dispatcher_thread(of, dispatcher_thread)
    if of.service.get_size() == 1:
        return _started(_thread(of))
    if not collective:
        raise RuntimeError(
            "This executor has several ranks, and all of them must enter it: use it in "
            "`with PoolExecutor() as executor:`, or start the program with "
            "`mpiexec -n N python -m bsbpool.run script.py`."
        )
    _check_threads()
    from bsbpool.futures.groups import with_root_first
    from bsbpool.services.mpi import MPIService

    service = of.service
    if of.root:
        service = MPIService(with_root_first(service.get_communicator(), of.root))
    if service.get_rank() == 0:
        return _started(_ranks(of, service))
    from bsbpool.futures.serving import serve

    serve(service)
    return None


def _takes_who_waits(of: Description) -> bool:
    """Whether an executor is for workers that wait for this process, should there be any."""
    if of.service.get_size() == 1:
        return of.anywhere
    if running.workers_dedicated and not (of.root == 0 and (of.anywhere or _is_dispatcher_thread(of.service))):
        raise RuntimeError(
            "comm and root cannot be chosen under bsbpool.run, where rank 0 uses "
            "all other ranks. Leave them out, or start the program with "
            "`mpiexec -n N python script.py`."
        )
    return running.workers_dedicated


def _is_dispatcher_thread(service: Any) -> bool:
    from mpi4py import MPI

    assert waiting.dispatcher_thread is not None
    alike = (MPI.IDENT, MPI.CONGRUENT)
    dispatcher_threads = waiting.dispatcher_thread.service.get_communicator()
    return MPI.Comm.Compare(service.get_communicator(), dispatcher_threads) in alike


def _check_threads() -> None:
    """Refuse an MPI that may only be used by the main thread; on all ranks alike."""
    from mpi4py import MPI

    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise RuntimeError(
            "An executor uses MPI from another thread, but MPI was initialised for one thread. "
            'Let mpi4py initialise MPI, or set mpi4py.rc.thread_level = "multiple".'
        )


def _thread(of: Description) -> Backend:
    from bsbpool.futures.backend_thread import ThreadBackend

    return ThreadBackend(of.initializer, of.initargs)


def _ranks(of: Description, service: Any) -> Backend:
    from bsbpool.futures.backend_ranks import RanksBackend

    return RanksBackend(service, of.max_workers, of.initializer, of.initargs)


def _of_dispatcher_thread(of: Description, dispatcher_thread: DispatcherThread) -> Backend:
    _check_threads()
    dispatcher_thread.make_room()
    from bsbpool.futures.script_calls import ScriptBackend

    backend = ScriptBackend(dispatcher_thread.path, dispatcher_thread.service, of.max_workers, of.initializer, of.initargs)
    dispatcher_thread.acquire(backend)
    return _started(backend)


def _started(backend: Backend) -> Backend:
    backend.start()
    return backend
