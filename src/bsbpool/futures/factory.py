"""Opens the backend of an executor: a thread, the ranks of a communicator, or a worker group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bsbpool.futures.backend import Backend
from bsbpool.futures.registry import worker_groups
from bsbpool.futures.worker_group import WorkerGroup
from bsbpool.process import running
from bsbpool.settings import PoolSettings


class ExecutorSettings(NamedTuple):
    """The arguments of an executor.

    Attributes
    ----------
    service : MPIService
        The ranks that take part.
    root : int
        The rank that submits.
    max_workers : int or None
        The number of workers; None for all.
    initializer : callable or None
        Called on each worker before its first call.
    initargs : tuple
        Its arguments.
    default_comm : bool
        Whether no communicator was given.
    pool : PoolSettings
        Further settings of the pools.
    """

    service: Any
    root: int
    max_workers: int | None
    initializer: Callable[..., Any] | None
    initargs: tuple[Any, ...]
    default_comm: bool
    pool: PoolSettings


def open_backend(settings: ExecutorSettings, collective: bool) -> Backend | None:
    """Return a started backend; on a worker, run calls first and then return None.

    Parameters
    ----------
    settings : ExecutorSettings
        The arguments of the executor.
    collective : bool
        Whether all ranks call this function.
    """
    if running.in_job:
        return _open_thread(settings)  # the other ranks do not run this job
    if _uses_worker_group(settings):
        group = worker_groups.find(settings.max_workers)
        return _open_thread(settings) if group is None else _open_group(settings, group)
    if settings.service.get_size() == 1:
        return _open_thread(settings)
    if not collective:
        raise RuntimeError(
            "This executor has several ranks, and all of them must enter it: use it in "
            "`with PoolExecutor() as executor:`, or start the program with "
            "`mpiexec -n N python -m bsbpool.run script.py`."
        )
    return _open_ranks(settings)


def _uses_worker_group(settings: ExecutorSettings) -> bool:
    """Whether a worker group runs the calls of an executor, if there is one."""
    if settings.service.get_size() == 1:
        return settings.default_comm
    if not running.workers_dedicated:
        return False
    if settings.root != 0:
        raise RuntimeError(_fixed(f"root must be 0 under bsbpool.run, got {settings.root}"))
    if not settings.default_comm and not _is_main_group(settings.service):
        n = settings.service.get_size()
        raise RuntimeError(
            _fixed(f"comm must have all ranks under bsbpool.run, in order, got one of {n} ranks")
        )
    return True


def _fixed(problem: str) -> str:
    """Return the error message for an argument that `bsbpool.run` determines."""
    return (
        f"{problem}: rank 0 runs the program, and the other ranks are its workers. Leave it out, "
        "or start the program with `mpiexec -n N python script.py`."
    )


def _is_main_group(service: Any) -> bool:
    """Whether a communicator has the ranks of the main worker group."""
    from mpi4py import MPI

    assert worker_groups.main is not None
    comm = worker_groups.main.service.get_communicator()
    same = (MPI.IDENT, MPI.CONGRUENT)
    return MPI.Comm.Compare(service.get_communicator(), comm) in same


def _open_thread(settings: ExecutorSettings) -> Backend:
    from bsbpool.futures.backend_thread import ThreadBackend

    return _started(ThreadBackend(settings.initializer, settings.initargs, settings.pool))


def _open_ranks(settings: ExecutorSettings) -> Backend | None:
    _check_thread_level()
    from bsbpool.futures.communicators import with_root_first
    from bsbpool.services.mpi import MPIService

    service = settings.service
    if settings.root:
        service = MPIService(with_root_first(service.get_communicator(), settings.root))
    if service.get_rank() == 0:
        from bsbpool.futures.backend_ranks import RanksBackend

        return _started(
            RanksBackend(
                service,
                settings.max_workers,
                settings.initializer,
                settings.initargs,
                settings.pool,
            )
        )
    from bsbpool.futures.worker import serve_executor

    serve_executor(service)
    return None


def _open_group(settings: ExecutorSettings, group: WorkerGroup) -> Backend:
    if settings.pool.main_works:
        raise RuntimeError(_fixed("main_works must be False for the workers of bsbpool.run"))
    _check_thread_level()
    group.wait_until_free()
    from bsbpool.futures.backend_script import ScriptBackend

    backend = ScriptBackend(
        group.path,
        group.service,
        settings.max_workers,
        settings.initializer,
        settings.initargs,
        settings.pool,
    )
    group.assign(backend)
    return _started(backend)


def _check_thread_level() -> None:
    """Raise, on all ranks alike, if only the main thread may call MPI."""
    from mpi4py import MPI

    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise RuntimeError(
            "An executor uses MPI from another thread, but MPI was initialised for one thread. "
            'Let mpi4py initialise MPI, or set mpi4py.rc.thread_level = "multiple".'
        )


def _started(backend: Backend) -> Backend:
    backend.start()
    return backend
