"""Blocks that one rank executes while the others wait at their end."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


class FencedSignal(Exception):
    """Raised by `Fence.guard` on the ranks that must not execute the rest of the block."""


class Fence:
    """Lets one rank execute a block; the others continue after it when that rank is done.

    Parameters
    ----------
    writer : int
        The rank that executes the block.
    access : bool
        Whether this rank is the writer.
    comm : mpi4py.MPI.Comm
        The communicator of all of these ranks.
    """

    def __init__(self, writer: int, access: bool, comm: Any) -> None:
        self._writer, self._access, self._comm = writer, access, comm
        self._obj: Any = None

    def guard(self) -> None:
        """Leave the block on all ranks but the writer.

        Raises
        ------
        FencedSignal
            On the other ranks; the ``with`` statement of the fence handles it.
        """
        if not self._access:
            raise FencedSignal

    def share(self, obj: Any) -> None:
        """Set the object that `collect` returns on all ranks."""
        self._obj = obj

    def collect(self) -> Any:
        """Return the object that the writer shared. Collective."""
        return self._comm.bcast(self._obj, root=self._writer)

    def __enter__(self) -> Fence:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> bool:
        self._comm.Barrier()
        return kind is not None and issubclass(kind, FencedSignal)


class Fenced:
    """The block of the writer: the lock, then a barrier with the other ranks.

    Parameters
    ----------
    lock : context manager
        The write lock.
    fence : Fence
        The fence of this rank.
    handle : context manager, optional
        What the ``with`` statement enters and gives to the block in place of the fence.
    """

    def __init__(
        self, lock: AbstractContextManager[None], fence: Fence, handle: Any | None
    ) -> None:
        self._lock, self._fence, self._handle = lock, fence, handle

    def __enter__(self) -> Any:
        self._lock.__enter__()
        return self._fence if self._handle is None else self._handle

    def __exit__(self, *error: Any) -> bool:
        self._lock.__exit__(*error)
        return self._fence.__exit__(*error)


class NoHandle:
    """The block of the ranks that get no handle: only the barrier.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator of all of these ranks.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        self._comm.Barrier()
