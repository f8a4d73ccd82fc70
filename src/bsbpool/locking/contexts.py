"""The context managers of a lock, which may be nested."""

from __future__ import annotations

import sys
from typing import Any, Protocol


class Lock(Protocol):
    """What the context managers need of a controller.

    Attributes
    ----------
    read_depth, write_depth : int
        How many of this rank's blocks read and write.
    """

    read_depth: int
    write_depth: int

    @property
    def rank(self) -> int:
        """The rank of this process."""

    @property
    def master(self) -> int:
        """The rank that writes in `single_write` by default."""

    def take(self, write: bool) -> None:
        """Acquire the lock."""

    def drop(self) -> None:
        """Release the lock."""


class ReadLock:
    """A block that has the lock for reading.

    Parameters
    ----------
    lock : LockController
        The lock.
    """

    __slots__ = ("_entered", "_lock", "_outermost", "_span")

    def __init__(self, lock: Lock) -> None:
        self._lock, self._outermost, self._entered = lock, False, False
        self._span: Any = None

    def __enter__(self) -> None:
        lock = self._lock
        _refuse_second(self._entered)
        self._outermost = not (lock.read_depth or lock.write_depth)
        if "opentelemetry.sdk.trace" in sys.modules:
            self._span = _begin_span("read", lock, {"nested": not self._outermost})
        if self._outermost:
            _take(lock, False, self._span)
        lock.read_depth += 1
        self._entered = True

    def __exit__(self, *error: Any) -> None:
        lock = self._lock
        self._entered = False
        lock.read_depth -= 1
        if self._outermost:
            lock.drop()
        if self._span is not None:
            self._span.__exit__(*error)


class WriteLock:
    """A block that has the lock for writing.

    Inside of a block that reads, the lock for reading is released before the lock for writing is
    acquired, and acquired again at the end.

    Parameters
    ----------
    lock : LockController
        The lock.
    """

    __slots__ = ("_entered", "_lock", "_outermost", "_promoted", "_span")

    def __init__(self, lock: Lock) -> None:
        self._lock, self._outermost, self._promoted = lock, False, False
        self._entered = False
        self._span: Any = None

    def __enter__(self) -> None:
        lock = self._lock
        _refuse_second(self._entered)
        self._outermost = not lock.write_depth
        self._promoted = self._outermost and lock.read_depth > 0
        if "opentelemetry.sdk.trace" in sys.modules:
            attributes = {"nested": not self._outermost, "promoted": self._promoted}
            self._span = _begin_span("write", lock, attributes)
        if self._promoted:
            lock.drop()
        if self._outermost:
            _take(lock, True, self._span)
        lock.write_depth += 1
        self._entered = True

    def __exit__(self, *error: Any) -> None:
        lock = self._lock
        self._entered = False
        lock.write_depth -= 1
        if self._outermost:
            lock.drop()
        if self._promoted:
            lock.take(False)
        if self._span is not None:
            self._span.__exit__(*error)


def _refuse_second(entered: bool) -> None:
    if entered:
        raise RuntimeError("This block has begun already; call read() or write() for each block")


def _take(lock: Lock, write: bool, span: Any) -> None:
    if span is None:
        lock.take(write)
        return
    try:
        with _tracer().start_as_current_span(
            f"mpilock.{'write' if write else 'read'}.wait", attributes={"mpi.rank": lock.rank}
        ):
            lock.take(write)
    except BaseException:
        span.__exit__(*sys.exc_info())
        raise


def _begin_span(kind: str, lock: Lock, attributes: dict[str, bool]) -> Any:
    """Begin a span with the name and attributes that the package mpilock gives it."""
    span = _tracer().start_as_current_span(
        f"mpilock.{kind}",
        attributes={
            "mpi.rank": lock.rank,
            "mpi.master": lock.master,
            **{f"mpilock.{name}": value for name, value in attributes.items()},
        },
    )
    span.__enter__()
    return span


def _tracer() -> Any:
    from opentelemetry.trace import get_tracer

    return get_tracer("mpilock")
