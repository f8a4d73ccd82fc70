"""Workers that wait for whatever executor this process opens: those of a program's whole run.

Under ``python -m bsbpool.run`` these are the other ranks, else local processes that were spawned.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from typing import Any

from bsbpool.by_name import main_runs_alone
from bsbpool.futures.backend import Backend
from bsbpool.futures.program import SearchPath, create_main_module, this_program
from bsbpool.naming import shortened, text_of
from bsbpool.services.channels import channel_of, flush_stdout
from bsbpool.services.launchers import is_started_by_mpi

SECONDS_OF_GRACE = 1.0
"""How long a rank inside a call may take to notice that the program has ended."""


class DispatcherThread:
    """Ranks that serve one executor after the other.

    Parameters
    ----------
    service : MPIService
        This rank, which is rank 0, and those.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        self.path = SearchPath()  # the workers have the same at first
        self._backend: Backend | None = None
        self._over = False
        self._process = os.getpid()

    def make_room(self) -> None:
        """Wait for the executor before.

        Raises
        ------
        RuntimeError
            When it has not been shut down, or the workers have gone.
        """
        if self._over:
            raise RuntimeError("The program has ended; its workers run no more calls")
        if self._backend is not None and self._backend.spare:
            self._backend.close()
        if self._backend is not None and not self._backend.closed:
            raise RuntimeError(
                "Another executor uses the workers; shut it down, or leave its `with` block, first"
            )
        if self._backend is not None:
            self._backend.join()

    def acquire(self, backend: Backend) -> None:
        """Note who has the workers now."""
        self._backend = backend

    def close(self, code: int = 0) -> None:
        """End all ranks, with an exit code; wait only for a program that went well."""
        from bsbpool.futures.shutdown import shut_down

        self._over = True
        if os.getpid() != self._process:  # a forked child
            return
        if self._backend is not None:
            if code:
                self._backend.abandon()
            self._backend.close()
            self._backend.join()
        channel = shut_down(self.service, code)
        channel.drain(SECONDS_OF_GRACE)
        if channel.away and channel.await_returns(SECONDS_OF_GRACE):
            flush_stdout()
            self.service.get_communicator().Abort(code or 1)


class Waiting:
    """Who waits for executors of this process: nobody, at first.

    Attributes
    ----------
    dispatcher thread : DispatcherThread or None
        The ranks of ``python -m bsbpool.run``.
    spawned : dict of int to DispatcherThread or None
        Local processes, by their number; None where they could not be started.
    siblings : mpi4py.MPI.Comm or None
        In a process that was spawned: the communicator of all that were spawned with it.
    """

    def __init__(self) -> None:
        self.dispatcher_thread: DispatcherThread | None = None
        self.spawned: dict[int, DispatcherThread | None] = {}
        self.siblings: Any = None

    def dispatcher_thread_for(self, n_workers: int | None) -> DispatcherThread | None:
        """Return the dispatcher thread for an executor of no communicator; None when a thread must do."""
        if self.dispatcher_thread is not None:
            return self.dispatcher_thread
        if n_workers is None or n_workers < 2:
            return None
        if n_workers not in self.spawned:
            self.spawned[n_workers] = _spawn(n_workers)
        return self.spawned[n_workers]


waiting = Waiting()


def _spawn(n: int) -> DispatcherThread | None:
    """Start local processes, where MPI can."""
    reason = _why_not() or ""
    if not reason:
        try:
            return _spawned(n)
        except Exception as error:  # mpi4py's; which kind is the MPI's choice
            reason = f"MPI could not start them ({shortened(text_of(error))})"
    warnings.warn(
        f"max_workers={n} is ignored and one thread runs the calls: {reason}. For more workers "
        "start the program with "
        f"`mpiexec -n {n + 1} python -m bsbpool.run script.py`.",
        RuntimeWarning,
        stacklevel=6,
    )
    return None


def _why_not() -> str | None:
    """Say why processes cannot be spawned; asking MPI may never return."""
    if is_started_by_mpi():
        return None
    # A process that no launcher started needs one: MPICH's looks for it on PATH, and waits for
    # ever where there is none.
    if shutil.which("mpiexec") is None:
        return "there is no mpiexec on PATH"
    try:
        import mpi4py  # noqa: F401
    except ImportError:
        return "mpi4py is not installed"
    return None


def _spawned(n: int) -> DispatcherThread:
    import atexit

    from mpi4py import MPI

    from bsbpool.services.mpi import MPIService

    between = MPI.COMM_SELF.Spawn(sys.executable, args=["-m", "bsbpool.run", "--serve"], maxprocs=n)
    comm = between.Merge(high=False)
    comm.bcast(this_program())
    dispatcher_thread = DispatcherThread(MPIService(comm))
    channel_of(comm)
    main_runs_alone()
    atexit.register(dispatcher_thread.close)
    return dispatcher_thread


def serve_always(service: Any, file: str | None, module: str | None) -> int:
    """Serve executors of rank 0 until its program is over.

    Parameters
    ----------
    service : MPIService
        This rank and the others.
    file, module : str or None
        The main script or module of the program, see `Program`.

    Returns
    -------
    int
        The exit code.
    """
    from bsbpool.futures.serving import serve

    main_runs_alone()
    # What the program defines gets a place of its own here, with nothing of ours in it.
    create_main_module(file, module)
    while (code := serve(service)) is None:
        pass
    return code
