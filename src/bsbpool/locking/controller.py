"""The controller of a lock: one object on each rank."""

from __future__ import annotations

import warnings
import weakref
from functools import partial
from typing import Any

from bsbpool._core.locking.global_queue import GlobalQueue
from bsbpool._core.locking.rank_lock import RankLock, ReadLock, WriteLock
from bsbpool.locking.fences import Fence, single_write
from bsbpool.locking.shared_page import NodePage, open_page
from bsbpool.locking.tracing import LockSpan
from bsbpool.process import running

_controllers: weakref.WeakSet[LockController] = weakref.WeakSet()


class SharedMemoryError(RuntimeError):
    """The ranks of a node cannot share memory."""


class LockTakeoverWarning(RuntimeWarning):
    """A rank died while it had the lock: what it was writing may be incomplete."""


def sync(comm: Any = None, master: int = 0) -> LockController:
    """Make a lock for the ranks of a communicator. Collective.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The communicator; ``MPI.COMM_WORLD`` by default.
    master : int, optional
        The rank that writes in `LockController.single_write` by default.

    Returns
    -------
    LockController
        The lock.

    Raises
    ------
    SharedMemoryError
        On all ranks, if those of one node cannot share memory.
    RuntimeError
        Inside a job, which one rank runs without the others.
    ValueError
        If `master` is not a rank.
    """
    return LockController(comm, master)


def describe_locks() -> str:
    """Return a line for each lock of this process that some rank has or waits for."""
    lines = [controller.describe() for controller in list(_controllers) if not controller.closed]
    return "\n".join(filter(None, lines))


def recover_locks() -> bool:
    """Call `LockController.recover` for all locks of this process; return whether all are done."""
    return all([controller.recover() for controller in list(_controllers)])


class LockController:
    """A reader-writer lock over the ranks of a communicator. Collective to make.

    Writers go before readers, in the order of their requests within a node; after 8 writes in a
    row the readers that wait are admitted. Between nodes, the order is that of the nodes' requests;
    a node passes the lock on within itself at most 64 times while others wait.

    A rank may nest its locks: whatever it has, `read` is granted at once, and so is `write` inside
    of `write`. A `write` inside of `read` releases the lock for reading, waits for the lock for
    writing, and takes the former again at its end; other ranks may write in between.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The communicator; ``MPI.COMM_WORLD`` by default.
    master : int, optional
        The rank that writes in `single_write` by default.
    """

    def __init__(self, comm: Any = None, master: int = 0) -> None:
        if comm is None:
            from mpi4py import MPI

            comm = MPI.COMM_WORLD
        if not 0 <= master < comm.Get_size():
            raise ValueError(
                f"master: {master} is not a rank of the communicator, which has {comm.Get_size()}"
            )
        if running.in_job and comm.Get_size() > 1:
            raise RuntimeError(
                "A lock cannot be made inside a job: one rank runs the job, and the others, of a "
                f"communicator of {comm.Get_size()} ranks, would have to take part. Make the lock "
                "before the pool executes. If no other rank uses the same file, pass "
                "comm=MPI.COMM_SELF"
            )
        page = open_page(comm)
        if page is None:
            raise SharedMemoryError(
                "The ranks of a node cannot share memory, which this lock needs (Linux, /dev/shm); "
                "install mpilock and set BSBPOOL_LOCK=mpilock"
            )
        self._comm, self._page = comm, page
        self._queue = GlobalQueue(comm, master, page.polls) if page.n_nodes > 1 else None
        warn = partial(_warn, page)
        self._lock = RankLock(comm.Get_rank(), master, page.lock, self._queue, warn, LockSpan)
        _controllers.add(self)
        if recover_locks not in running.after_deaths:
            running.after_deaths.append(recover_locks)

    @property
    def master(self) -> int:
        """The rank that writes in `single_write` by default."""
        return self._lock.master

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self._lock.rank

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._lock.closed

    @property
    def n_nodes(self) -> int:
        """The number of nodes on which the ranks are."""
        return self._page.n_nodes

    def close(self) -> None:
        """Give the lock up. Collective if the ranks are on several nodes."""
        if not self._lock.closed:
            self._lock.close()
            if self._queue is not None:
                self._queue.free()

    def __enter__(self) -> LockController:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self) -> ReadLock:
        """Return a context manager that has the lock for reading."""
        return ReadLock(self._lock)

    def write(self) -> WriteLock:
        """Return a context manager that has the lock for writing."""
        return WriteLock(self._lock)

    def single_write(self, handle: Any | None = None, rank: int | None = None) -> Any:
        """Return a context manager in which one rank writes and the others wait. Collective.

        Parameters
        ----------
        handle : context manager, optional
            What the block of the writer gets; the other ranks get None.
        rank : int, optional
            The rank that writes; the master by default.

        Returns
        -------
        context manager
            Gives `handle`, or a `Fence` where there is none.
        """
        writer = self.master if rank is None else rank
        access = self.rank == writer
        return single_write(self.write(), Fence(access, writer, self._comm), access, handle)

    def describe(self) -> str:
        """Return who has the lock and who waits for it, with the times; "" if it is free."""
        return "; ".join(
            f"rank {self._page.ranks[slot]} {state} since {seconds:.1f} s"
            for slot, state, seconds in self._page.lock.states()
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of rank {self.rank}: {self.describe() or 'free'}>"

    def recover(self) -> bool:
        """Give back what ranks of this node had that have died, for the ranks of other nodes.

        Ranks that wait for the lock do this themselves. A pool calls it if a rank has died.

        Returns
        -------
        bool
            False if this must be called again later, when the other nodes have gone on.
        """
        return self._lock.recover()


def _warn(page: NodePage, dead: list[int]) -> None:
    for slot in dead:
        warnings.warn(
            f"Rank {page.ranks[slot]} died while it had the lock; the data that it was "
            "writing may be incomplete. The lock was passed on.",
            LockTakeoverWarning,
            stacklevel=3,
        )
