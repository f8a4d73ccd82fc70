"""A read/write lock over the ranks: mpilock's where it is installed, else one that grants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from bsbpool.services._util import MockModule


class FencedSignal(Exception):
    """Takes those that have no access out of a fenced block."""


class Fence:
    """Lets one process work while the others skip to the end of the block.

    Parameters
    ----------
    access : bool
        Whether this process may work.
    """

    def __init__(self, access: bool) -> None:
        self._access = access
        self._obj: Any = None

    def guard(self) -> None:
        """Leave the block unless this process has access."""
        if not self._access:
            raise FencedSignal

    def share(self, obj: Any) -> None:
        """Keep an object for `collect`."""
        self._obj = obj

    def collect(self) -> Any:
        """Return the shared object."""
        return self._obj

    def __enter__(self) -> Fence:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return kind is not None and issubclass(kind, FencedSignal)


class _NoHandle:
    """What a process without access gets in place of a handle."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: Any) -> None:
        pass


class _NoopLock:
    """A lock that is free whenever it is asked for."""

    _mocked = True

    def __init__(self) -> None:
        self._depth = 0

    def locked(self) -> bool:
        """Whether it is held here."""
        return self._depth > 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1


class MockedWindowController:
    """The controller of a single process; mpilock's `WindowController` in shape."""

    _mocked = True

    def __init__(self, comm: Any = None, master: int = 0) -> None:
        self._master = master
        self._closed = False

    @property
    def master(self) -> int:
        """The rank that keeps the lock."""
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
        """Give the lock up."""
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
        """Return a lock for one rank to write, the master by default."""
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
    """The module `mpilock`, or its stand-in for a single process."""

    WindowController = MockedWindowController
    Fence = Fence
    FencedSignal = FencedSignal

    def sync(self, comm: Any = None, master: int = 0) -> MockedWindowController:
        """Make a controller."""
        return MockedWindowController(comm, master)

    def __call__(self, comm: Any = None, master: int = 0) -> MockedWindowController:
        """Make a controller."""
        return self.sync(comm, master or 0)
