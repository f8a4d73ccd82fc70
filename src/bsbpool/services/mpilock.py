"""The service `MPILock`: the lock of this package, mpilock, or a substitute for one process."""

from __future__ import annotations

import importlib.util
import os
from contextlib import AbstractContextManager
from typing import Any

from bsbpool.locking.fences import Fence, FencedSignal, NoHandle, single_write
from bsbpool.process import running
from bsbpool.services.mpi import MockModule

_NoHandle = NoHandle
"""The name that it has in BSB's module."""


class _NoopLock:
    """A lock that is always free."""

    _mocked = True

    def __init__(self) -> None:
        self._depth = 0

    def locked(self) -> bool:
        """Whether this process holds the lock."""
        return self._depth > 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1


class MockedWindowController:
    """The substitute for mpilock's `WindowController` in a program of one process."""

    _mocked = True

    def __init__(self, comm: Any = None, master: int = 0) -> None:
        self._master = master
        self._closed = False

    @property
    def master(self) -> int:
        """The rank that holds the state of the lock."""
        return self._master

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return 0

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Close the controller."""
        self._closed = True

    def __enter__(self) -> MockedWindowController:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def read(self) -> Any:
        """Return a lock for reading."""
        return _NoopLock()

    def write(self) -> Any:
        """Return a lock for writing."""
        return _NoopLock()

    def single_write(
        self, handle: AbstractContextManager[Any] | None = None, rank: int | None = None
    ) -> AbstractContextManager[Any]:
        """Return a lock with which one rank writes, by default the master."""
        access = self.rank == (self._master if rank is None else rank)
        return single_write(self.write(), Fence(access), access, handle)


class MPILockModule(MockModule):
    """The module `mpilock`, or its substitute in a program of one process."""

    WindowController = MockedWindowController
    Fence = Fence
    FencedSignal = FencedSignal

    def sync(self, comm: Any = None, master: int = 0) -> MockedWindowController:
        """Make a controller."""
        return MockedWindowController(comm, master)

    def __call__(self, comm: Any = None, master: int = 0) -> MockedWindowController:
        """Make a controller."""
        return self.sync(comm, master or 0)


class SingleRankController(MockedWindowController):
    """The lock of one rank: it is granted at once, and traced as the lock of several."""

    def __init__(self, comm: Any = None, master: int = 0) -> None:
        from bsbpool._core.locking.rank_lock import RankLock
        from bsbpool.locking.tracing import LockSpan

        super().__init__(comm, master)
        self._lock = RankLock(0, master, begin_span=LockSpan)

    def read(self) -> Any:
        """Return a lock for reading."""
        from bsbpool._core.locking.rank_lock import ReadLock

        return ReadLock(self._lock)

    def write(self) -> Any:
        """Return a lock for writing."""
        from bsbpool._core.locking.rank_lock import WriteLock

        return WriteLock(self._lock)


class NativeLockModule:
    """Has the API of the module `mpilock`, with the lock of `bsbpool.locking` for several ranks."""

    def __getattr__(self, attr: str) -> Any:
        if attr not in ("Fence", "FencedSignal", "WindowController"):
            raise AttributeError(f"module 'mpilock' has no attribute {attr!r}")
        from bsbpool import locking

        return locking.LockController if attr == "WindowController" else getattr(locking, attr)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), "Fence", "FencedSignal", "WindowController"]

    @staticmethod
    def sync(comm: Any = None, master: int = 0, **pump: Any) -> Any:
        """Make a controller. Collective.

        Parameters
        ----------
        comm : mpi4py.MPI.Comm, optional
            The communicator; ``MPI.COMM_WORLD`` by default.
        master : int, optional
            The rank that writes in ``single_write`` by default.
        **pump
            Options of mpilock's progress thread, which this lock does not need.

        Returns
        -------
        LockController or SingleRankController
            The latter if the communicator has one rank, or if only this rank runs the program
            (``python -m bsbpool.run``).

        Raises
        ------
        RuntimeError
            Inside a job, which one rank runs without the others.
        """
        from bsbpool.services.mpi import MPIService

        if comm is None:
            comm = MPIService().get_communicator()
        if comm is None or comm.Get_size() == 1 or running.workers_dedicated:
            return SingleRankController(comm, master)
        from bsbpool.locking import SharedMemoryError, sync

        has_mpilock = importlib.util.find_spec("mpilock") is not None
        try:
            controller = sync(comm, master)
        except SharedMemoryError:  # on all ranks
            if not has_mpilock:
                raise
        else:
            if controller.n_nodes == 1 or "BSBPOOL_LOCK" in os.environ or not has_mpilock:
                return controller
            # Between nodes, mpilock has a thread that lets MPI complete the operations of others.
            controller.close()
        import mpilock

        return mpilock.sync(comm, master, **pump)

    __call__ = sync


def lock_module() -> Any:
    """Return the module that the environment variable BSBPOOL_LOCK names.

    Raises
    ------
    ValueError
        If it is neither "native" (the default) nor "mpilock".
    """
    name = os.environ.get("BSBPOOL_LOCK", "native")
    if name not in ("native", "mpilock"):
        raise ValueError(f"BSBPOOL_LOCK is {name!r}; set it to 'native' or 'mpilock', or unset it")
    if name == "native" and _has_mpi4py():
        return NativeLockModule()
    return MPILockModule("mpilock")


def _has_mpi4py() -> bool:
    try:
        return importlib.util.find_spec("mpi4py") is not None
    except ValueError:  # sys.modules["mpi4py"] is None
        return False
