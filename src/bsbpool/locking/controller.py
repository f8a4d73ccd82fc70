"""The controller of a lock: one object on each rank."""

from __future__ import annotations

import os
import warnings
import weakref
from typing import Any

from bsbpool._core.locking.global_queue import GlobalQueue
from bsbpool.locking.contexts import ReadLock, WriteLock
from bsbpool.locking.fences import Fence, Fenced, NoHandle
from bsbpool.locking.shared_page import NodePage, open_page

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
    ValueError
        If `master` is not a rank.
    """
    return LockController(comm, master)


def describe_locks() -> str:
    """Return a line for each lock of this process that some rank has or waits for."""
    lines = [controller.describe() for controller in list(_controllers) if not controller.closed]
    return "\n".join(filter(None, lines))


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
        page = open_page(comm)
        if page is None:
            raise SharedMemoryError(
                "The ranks of a node cannot share memory, which this lock needs (Linux, /dev/shm); "
                "install mpilock and set BSBPOOL_LOCK=mpilock"
            )
        self._comm, self._master = comm, master
        self._rank: int = comm.Get_rank()
        self._page: NodePage = page
        self._node = page.lock
        self._queue = GlobalQueue(comm, master) if page.n_nodes > 1 else None
        self.read_depth = self.write_depth = 0
        self._closed = False
        self._process = os.getpid()
        _controllers.add(self)

    @property
    def master(self) -> int:
        """The rank that writes in `single_write` by default."""
        return self._master

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self._rank

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def n_nodes(self) -> int:
        """The number of nodes on which the ranks are."""
        return self._page.n_nodes

    def close(self) -> None:
        """Give the lock up. Collective if the ranks are on several nodes."""
        if not self._closed:
            if self.read_depth or self.write_depth:
                raise RuntimeError("The lock cannot be closed inside of a block that has it")
            self._closed = True
            if self._queue is not None:
                self._queue.free()

    def __enter__(self) -> LockController:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self) -> ReadLock:
        """Return a context manager that has the lock for reading."""
        return ReadLock(self)

    def write(self) -> WriteLock:
        """Return a context manager that has the lock for writing."""
        return WriteLock(self)

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
        writer = self._master if rank is None else rank
        fence = Fence(writer, self._rank == writer, self._comm)
        if self._rank == writer:
            return Fenced(self.write(), fence, handle)
        return fence if handle is None else NoHandle(self._comm)

    def describe(self) -> str:
        """Return who has the lock and who waits for it, with the times; "" if it is free."""
        states = self._node.states()
        return "; ".join(
            f"rank {self._page.ranks[slot]} {state} since {seconds:.1f} s"
            for slot, state, seconds in states
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of rank {self._rank}: {self.describe() or 'free'}>"

    # Used by `ReadLock` and `WriteLock`

    def take(self, write: bool) -> None:
        """Acquire the lock, without regard to what this rank has."""
        if self._closed:
            raise RuntimeError("The lock cannot be acquired, because its controller was closed")
        if os.getpid() != self._process:
            raise RuntimeError("A forked child cannot acquire a lock of its parent")
        node = self._node
        try:
            if node.request(write) and self._queue is None:
                return
            if dead := node.wait():
                self._warn(dead)
            if self._queue is not None and node.needs_global:
                self._take_global(self._queue, write)
        except BaseException:
            node.cancel()
            self.drop()
            raise

    def _take_global(self, queue: GlobalQueue, write: bool) -> None:
        node = self._node
        if node.global_mode:
            queue.give_back(node.global_mode == "write", node.global_owner)
            node.drop_global()
        node.take_global(write, queue.take(write))

    def drop(self) -> None:
        """Release the lock, if this rank has it: an interrupted `take` may have left it without."""
        if os.getpid() != self._process:
            return
        if self._node.holds and self._node.release() and self._queue is not None:
            self._queue.give_back(self._node.global_mode == "write", self._node.global_owner)
            self._node.drop_global()

    def _warn(self, dead: list[int]) -> None:
        for slot in dead:
            warnings.warn(
                f"Rank {self._page.ranks[slot]} died while it had the lock; the data that it was "
                "writing may be incomplete. The lock was passed on.",
                LockTakeoverWarning,
                stacklevel=4,
            )
