"""The names of `mpipool`, on the ranks of this pool.

::

    from bsbpool.integrations.mpipool import MPIExecutor

    with MPIExecutor() as pool:
        pool.workers_exit()
        print(list(pool.map(abs, range(-3, 3))))

All ranks make the pool. The main one goes on; the others run its calls until it is shut down, and
leave the block where they call `workers_exit`. A program of one process, which mpipool refuses,
has a thread for a worker. See docs/migrating.md for what differs.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any
from weakref import WeakSet

from bsbpool.arguments import flag
from bsbpool.futures import PoolExecutor
from bsbpool.futures.backend import is_of_a_backend
from bsbpool.integrations._batches import Batch, MapResult, Result

__all__ = [
    "Batch",
    "ExitObject",
    "MPIExecutor",
    "MPIPool",
    "MPIProcessError",
    "PoolGuardError",
    "WorkerExitSuiteSignal",
]

READ_AHEAD = 64
"""How many items of a `map` each worker may have on their way."""


class WorkerExitSuiteSignal(Exception):
    """Takes a worker out of the ``with`` block, which is the main rank's."""


class PoolGuardError(Exception):
    """A worker went through code of the main rank: there was no `workers_exit` before it."""


class MPIProcessError(Exception):
    """What mpipool raises when there is one process; here to be caught, never raised."""


class MPIExecutor(Executor):
    """An executor as of mpipool. Collective.

    Parameters
    ----------
    main : int
        The rank that submits.
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part; by default all.
    rejoin : bool
        Whether workers go on after the end of the pool; else they exit.
    logger, loglevel : optional
        Accepted; what there is to say goes to the logger `bsbpool`.

    Examples
    --------
    >>> with MPIExecutor() as pool:
    ...     pool.workers_exit()
    ...     print(pool.submit_batch(pow, [2, 3], [5, 2]).result())
    [32, 9]
    """

    def __init__(
        self,
        main: int = 0,
        comm: Any = None,
        rejoin: bool = True,
        logger: Any = None,
        loglevel: Any = None,
    ) -> None:
        rejoin = flag("rejoin", rejoin)
        self._open, self._left = True, False
        self._size = 0
        self._lock = threading.Lock()
        self._unfinished = 0
        self._batches: WeakSet[Batch] = WeakSet()  # calls on their way keep theirs alive
        self._ranks = PoolExecutor(comm, main)
        self._main = self._ranks.__enter__() is not None
        if self._main:
            self._size = self._ranks.num_workers
            return
        self.shutdown()
        if not rejoin:
            sys.exit()

    # ------------------------------------------------------------ calls

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``fn(*args, **kwargs)`` called on a worker; return the future."""
        future = self._guarded().submit(fn, *args, **kwargs)
        with self._lock:
            self._unfinished += 1
        future.add_done_callback(self._ended)
        return future

    def _guarded(self) -> PoolExecutor:
        """Return what runs calls of the main rank; workers have none."""
        if not self._main:
            raise PoolGuardError(f"Only the main rank may submit calls; {_REMEDY}")
        return self._ranks

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._unfinished -= 1

    def submit_batch(self, fn: Callable[..., Any], *iterables: Iterable[Any]) -> Batch:
        """Submit a call for each item, reading as many ahead as there are workers.

        The end of the ``with`` block waits until all items are read and all calls have ended.
        """
        self._guarded()
        batch = Batch(self.submit, self._size, fn, zip(*iterables, strict=False))
        self._batches.add(batch)
        return batch

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any]) -> Iterator[Any]:  # type: ignore[override]
        """Yield results in the order of the items, which are read while results are taken."""
        return self._guarded().map(fn, *iterables, buffersize=READ_AHEAD * max(self._size, 1))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the pool; the workers go on with their own program, or exit."""
        wait, cancel_futures = flag("wait", wait), flag("cancel_futures", cancel_futures)
        if wait and not cancel_futures:
            self._read_batches()
        self._open = False
        if self._main:
            self._ranks.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._leave()

    def _read_batches(self) -> None:
        """Wait until nothing is left to submit."""
        if not is_of_a_backend():  # the thread that reads them
            for batch in list(self._batches):
                batch.wait_until_read()

    def _leave(self, *raised: Any) -> None:
        self._open = False
        if not self._left:
            self._left = True
            self._ranks.__exit__(*(raised or (None, None, None)))

    # ------------------------------------------------------------ asking

    def is_main(self) -> bool:
        """Whether this is the rank that submits."""
        return self._main

    def is_worker(self) -> bool:
        """Whether this is a rank that runs calls."""
        return not self._main

    @property
    def open(self) -> bool:
        """Whether calls are taken."""
        return self._open

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._size

    @property
    def idling(self) -> int:
        """How many workers have nothing to do."""
        return max(0, self._size - self._unfinished)

    # ------------------------------------------------------------ the block

    def __enter__(self) -> Any:
        """Return the pool; to a worker, which is through, what takes it out of the block."""
        return self if self._main else ExitObject()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End the pool."""
        if kind is not None and issubclass(kind, WorkerExitSuiteSignal) and not self._main:
            return True
        try:
            if error is None:
                self._read_batches()
        except BaseException:  # while it waited; the workers are not to wait as well
            self._leave(*sys.exc_info())
            raise
        self._leave(kind, error, traceback)
        return None

    def workers_exit(self) -> None:
        """Take workers out of the ``with`` block; call it first in there."""
        if not self._main:
            raise WorkerExitSuiteSignal


class ExitObject:
    """What a worker gets in the ``with`` block of a pool."""

    def is_main(self) -> bool:
        """Answer False, and say that the code is the main rank's."""
        warnings.warn(_UNGUARDED, stacklevel=2)
        return False

    def is_worker(self) -> bool:
        """Answer True, and say that the code is the main rank's."""
        warnings.warn(_UNGUARDED, stacklevel=2)
        return True

    def workers_exit(self) -> None:
        """Leave the ``with`` block."""
        raise WorkerExitSuiteSignal

    def __getattr__(self, name: str) -> Any:
        raise PoolGuardError(f"Only the main rank may use {name!r} of the pool; {_REMEDY}")


_REMEDY = "begin the `with` block with `pool.workers_exit()`"
_UNGUARDED = f"A worker runs code of the main rank; {_REMEDY}"


class MPIPool:
    """A pool as of `multiprocessing`. Collective.

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
        """Take workers out of the ``with`` block; call it first in there."""
        self._executor.workers_exit()

    def apply(self, fn: Callable[..., Any], args: Any = (), kwds: Any = None) -> Any:
        """Return what a call on a worker returns."""
        return self.apply_async(fn, args, kwds).get()

    def apply_async(self, fn: Callable[..., Any], args: Any = None, kwargs: Any = None) -> Result:
        """Have a function called on a worker."""
        return Result(self._executor.submit(fn, *(args or ()), **(kwargs or {})))

    def map(self, fn: Callable[..., Any], iterable: Iterable[Any]) -> list[Any]:
        """Return what a function returns for each item."""
        return list(self._executor._guarded().map(fn, iterable))

    def map_async(self, fn: Callable[..., Any], iterable: Iterable[Any]) -> MapResult:
        """Have a function called with each item."""
        return MapResult([self._executor.submit(fn, item) for item in iterable])

    def starmap(self, fn: Callable[..., Any], iterables: Iterable[Iterable[Any]]) -> list[Any]:
        """Return what a function returns for each tuple of arguments."""
        return list(self._executor._guarded().starmap(fn, iterables))

    def starmap_async(
        self, fn: Callable[..., Any], iterables: Iterable[Iterable[Any]]
    ) -> MapResult:
        """Have a function called with each tuple of arguments."""
        return MapResult([self._executor.submit(fn, *args) for args in iterables])

    def imap(self, fn: Callable[..., Any], iterable: Iterable[Any]) -> Iterator[Any]:
        """Yield results in the order of the items, which are read while results are taken."""
        return self._executor.map(fn, iterable)

    def imap_unordered(self, fn: Callable[..., Any], iterable: Iterable[Any]) -> Iterator[Any]:
        """Yield results as they come."""
        ahead = READ_AHEAD * max(self._executor.size, 1)
        ranks = self._executor._guarded()
        return ranks.map(fn, iterable, buffersize=ahead, unordered=True)

    def close(self) -> None:
        """End the pool, when all calls have ended."""
        self._executor.shutdown()

    def join(self) -> None:
        """Do nothing: `close` has waited."""

    def terminate(self) -> None:
        """End the pool without what has not begun."""
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
