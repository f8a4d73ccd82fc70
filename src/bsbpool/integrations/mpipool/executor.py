"""The executor of mpipool."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from weakref import WeakSet

from bsbpool._typing import LazyType
from bsbpool.arguments import flag
from bsbpool.futures import PoolExecutor
from bsbpool.futures.backend import in_backend_thread
from bsbpool.integrations._batch import Batch
from bsbpool.integrations.mpipool.guards import (
    REMEDY,
    ExitObject,
    PoolGuardError,
    WorkerExitSuiteSignal,
)

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm
else:
    Intracomm = LazyType("mpi4py.MPI", "Intracomm")

P = ParamSpec("P")
T = TypeVar("T")

ITEMS_PER_WORKER = 64
"""The number of items of a `map` that are in flight for each worker."""


class MPIExecutor(Executor):
    """An executor with the API of mpipool. Creating it is collective.

    Parameters
    ----------
    main : int
        The rank that submits.
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default all.
    rejoin : bool
        Whether workers go on after the end of the pool; otherwise they exit.
    logger, loglevel : optional
        Ignored; messages go to the logger `bsbpool`.

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
        comm: Intracomm | None = None,
        rejoin: bool = True,
        logger: object = None,
        loglevel: object = None,
    ) -> None:
        rejoin = flag("rejoin", rejoin)
        self._open, self._left = True, False
        self._size = 0
        self._lock = threading.Lock()
        self._n_unfinished = 0
        self._batches: WeakSet[Batch] = WeakSet()  # unfinished calls keep their batches alive
        self._executor = PoolExecutor(comm, main)
        self._main = self._executor.__enter__() is not None
        if self._main:
            self._size = self._executor.num_workers
            return
        self.shutdown()
        if not rejoin:
            sys.exit()

    # ------------------------------------------------------------ calls

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit the call ``fn(*args, **kwargs)``; return its future."""
        future = self.main_executor().submit(fn, *args, **kwargs)
        with self._lock:
            self._n_unfinished += 1
        future.add_done_callback(self._call_done)
        return future

    def main_executor(self) -> PoolExecutor:
        """Return the executor of the main rank; raise a PoolGuardError on a worker."""
        if not self._main:
            raise PoolGuardError(f"Only the main rank may submit calls; {REMEDY}")
        return self._executor

    def _call_done(self, future: Future[Any]) -> None:
        with self._lock:
            self._n_unfinished -= 1

    def submit_batch(self, fn: Callable[..., Any], *iterables: Iterable[Any]) -> Batch:
        """Submit a call for each item; as many calls are in flight as there are workers.

        The end of the ``with`` block waits until all items are read and all calls have ended.
        """
        self.main_executor()
        batch = Batch(self.submit, self._size, fn, zip(*iterables, strict=False))
        self._batches.add(batch)
        return batch

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any]) -> Iterator[T]:  # type: ignore[override]
        """Yield results in the order of the items, which are read while results are taken."""
        return self.main_executor().map(fn, *iterables, buffersize=self.buffersize)

    @property
    def buffersize(self) -> int:
        """The number of items of a `map` that are in flight."""
        return ITEMS_PER_WORKER * max(self._size, 1)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the pool; the workers go on with the program, or exit."""
        wait, cancel_futures = flag("wait", wait), flag("cancel_futures", cancel_futures)
        if wait and not cancel_futures:
            self._wait_for_batches()
        self._open = False
        if self._main:
            self._executor.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._leave()

    def _wait_for_batches(self) -> None:
        """Wait until all calls of batches have been submitted."""
        if not in_backend_thread():  # that thread submits them
            for batch in list(self._batches):
                batch.wait_until_submitted()

    def _leave(self, *raised: Any) -> None:
        self._open = False
        if not self._left:
            self._left = True
            self._executor.__exit__(*(raised or (None, None, None)))

    # ------------------------------------------------------------ properties

    def is_main(self) -> bool:
        """Whether this is the rank that submits."""
        return self._main

    def is_worker(self) -> bool:
        """Whether this is a rank that runs calls."""
        return not self._main

    @property
    def open(self) -> bool:
        """Whether calls are accepted."""
        return self._open

    @property
    def size(self) -> int:
        """The number of workers."""
        return self._size

    @property
    def idling(self) -> int:
        """The number of idle workers."""
        return max(0, self._size - self._n_unfinished)

    # ------------------------------------------------------------ the block

    def __enter__(self) -> Any:
        """Return the pool on the main rank, and an `ExitObject` on a worker."""
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
                self._wait_for_batches()
        except BaseException:  # such as Ctrl-C; leave without waiting for calls that run
            self._leave(*sys.exc_info())
            raise
        self._leave(kind, error, traceback)
        return None

    def workers_exit(self) -> None:
        """Make workers leave the ``with`` block; call it first in the block."""
        if not self._main:
            raise WorkerExitSuiteSignal
