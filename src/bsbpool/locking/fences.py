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
    access : bool
        Whether this rank executes the block.
    writer : int, optional
        The rank that does.
    comm : mpi4py.MPI.Comm, optional
        The communicator of all of these ranks; None if this process is the only one.

    Examples
    --------
    >>> with Fence(access=True) as fence:
    ...     fence.guard()
    ...     fence.share("written")
    >>> fence.collect()
    'written'
    """

    def __init__(self, access: bool, writer: int = 0, comm: Any = None) -> None:
        self._access, self._writer, self._comm = access, writer, comm
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
        if self._comm is None:
            return self._obj
        return self._comm.bcast(self._obj, root=self._writer)

    def wait(self) -> None:
        """Wait for all ranks at the end of the block. Collective."""
        if self._comm is not None:
            self._comm.Barrier()

    def __enter__(self) -> Fence:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> bool:
        self.wait()
        return kind is not None and issubclass(kind, FencedSignal)


class WriterBlock:
    """The block of the writer: the lock, then a barrier with the other ranks.

    Parameters
    ----------
    lock : context manager
        The write lock.
    fence : Fence
        The fence of this rank.
    handle : object, optional
        What the ``with`` statement gives to the block in place of the fence.
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
    fence : Fence, optional
        The fence of this rank; by default there is no barrier.
    """

    def __init__(self, fence: Fence | None = None) -> None:
        self._fence = fence

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        if self._fence is not None:
            self._fence.wait()


def single_write(
    lock: AbstractContextManager[None], fence: Fence, access: bool, handle: Any | None
) -> AbstractContextManager[Any, bool | None]:
    """Return the block of this rank in `LockController.single_write`.

    Parameters
    ----------
    lock : context manager
        The write lock.
    fence : Fence
        The fence of this rank.
    access : bool
        Whether this rank writes.
    handle : object, optional
        What the block of the writer gets in place of the fence.
    """
    if access:
        return WriterBlock(lock, fence, handle)
    return fence if handle is None else NoHandle(fence)
