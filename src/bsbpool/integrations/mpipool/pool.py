"""The pool of mpipool, which has the API of `multiprocessing.Pool`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from bsbpool.integrations._async_results import MapResult, Result
from bsbpool.integrations.mpipool.executor import MPIExecutor

T = TypeVar("T")


class MPIPool:
    """A pool with the API of `multiprocessing.Pool`. Creating it is collective.

    Examples
    --------
    >>> with MPIPool() as pool:
    ...     pool.workers_exit()
    ...     print(pool.starmap(pow, [(2, 5), (3, 2)]))
    [32, 9]
    """

    def __init__(self) -> None:
        self._executor = MPIExecutor()

    def is_main(self) -> bool:
        """Whether this is the rank that submits."""
        return self._executor.is_main()

    def is_worker(self) -> bool:
        """Whether this is a rank that runs calls."""
        return self._executor.is_worker()

    def workers_exit(self) -> None:
        """Make workers leave the ``with`` block; call it first in the block."""
        self._executor.workers_exit()

    def apply(
        self,
        fn: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
    ) -> T:
        """Call a function on a worker and return its result."""
        result: T = self.apply_async(fn, args, kwds).get()
        return result

    def apply_async(
        self,
        fn: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Result:
        """Submit a call."""
        return Result(self._executor.submit(fn, *(args or ()), **(kwargs or {})))

    def map(self, fn: Callable[[Any], T], iterable: Iterable[Any]) -> list[T]:
        """Return the result of a function for each item."""
        return list(self._executor.main_executor().map(fn, iterable))

    def map_async(self, fn: Callable[[Any], Any], iterable: Iterable[Any]) -> MapResult:
        """Submit a call for each item."""
        return MapResult([self._executor.submit(fn, item) for item in iterable])

    def starmap(self, fn: Callable[..., T], iterables: Iterable[Iterable[Any]]) -> list[T]:
        """Return the result of a function for each tuple of arguments."""
        return list(self._executor.main_executor().starmap(fn, iterables))

    def starmap_async(
        self, fn: Callable[..., Any], iterables: Iterable[Iterable[Any]]
    ) -> MapResult:
        """Submit a call for each tuple of arguments."""
        return MapResult([self._executor.submit(fn, *args) for args in iterables])

    def imap(self, fn: Callable[[Any], T], iterable: Iterable[Any]) -> Iterator[T]:
        """Yield results in the order of the items, which are read while results are taken."""
        return self._executor.map(fn, iterable)

    def imap_unordered(self, fn: Callable[[Any], T], iterable: Iterable[Any]) -> Iterator[T]:
        """Yield results as they become ready."""
        executor = self._executor.main_executor()
        return executor.map(fn, iterable, buffersize=self._executor.buffersize, unordered=True)

    def close(self) -> None:
        """Wait for all calls and end the pool."""
        self._executor.shutdown()

    def join(self) -> None:
        """Do nothing, because `close` waits already."""

    def terminate(self) -> None:
        """End the pool; cancel calls that have not started."""
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Any:
        return self if self.is_main() else self._executor.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._executor.__exit__(kind, error, traceback)
