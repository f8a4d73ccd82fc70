"""The service `MPILock`: the package mpilock, or a substitute for a single process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bsbpool.services.mpi import MockModule


class FencedSignal(Exception):
    """Ends a fenced block on a process without access."""


class Fence:
    """Lets one process execute a block while the others skip it.

    Parameters
    ----------
    access : bool
        Whether this process executes the block.
    """

    def __init__(self, access: bool) -> None:
        self._access = access
        self._obj: Any = None

    def guard(self) -> None:
        """Leave the block unless this process has access."""
        if not self._access:
            raise FencedSignal

    def share(self, obj: Any) -> None:
        """Store an object for `collect`."""
        self._obj = obj

    def collect(self) -> Any:
        """Return the shared object."""
        return self._obj

    def __enter__(self) -> Fence:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return kind is not None and issubclass(kind, FencedSignal)


class _NoHandle:
    """The substitute for a handle on a process without access."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        pass


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

    def read(self) -> _NoopLock:
        """Return a lock for reading."""
        return _NoopLock()

    def write(self) -> _NoopLock:
        """Return a lock for writing."""
        return _NoopLock()

    def single_write(
        self, handle: AbstractContextManager[Any] | None = None, rank: int | None = None
    ) -> AbstractContextManager[Any]:
        """Return a lock with which one rank writes, by default the master."""
        return _single_write(self.rank == (self._master if rank is None else rank), handle)


@contextmanager
def _single_write(access: bool, handle: AbstractContextManager[Any] | None) -> Iterator[Any]:
    if handle is not None:
        with handle if access else _NoHandle() as opened:
            yield opened
        return
    with Fence(access) as fence:
        yield fence


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
