"""The batches of joblib: how they are queued, and how they run on a worker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.parallel import ParallelBackendBase, ThreadingBackend

from bsbpool.futures import PoolExecutor
from bsbpool.integrations._thread_limits import is_set_by_user, limit_threads, n_cores

DoneCallback = Callable[[Any], Any]


class LimitedQueue:
    """Submits calls to an executor, and limits how many of them run at a time.

    Parameters
    ----------
    executor : PoolExecutor
        The executor.
    limit : int
        The largest number of calls that run at a time.
    """

    def __init__(self, executor: PoolExecutor, limit: int) -> None:
        self._executor = executor
        self._limit = limit if limit < executor.num_workers else None
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Callable[[], Any], DoneCallback | None]] = deque()
        self._futures: set[Future[Any]] = set()

    def submit(self, call: Callable[[], Any], callback: DoneCallback | None) -> Future[Any] | None:
        """Submit a call; return its future, or None if the call has to wait."""
        with self._lock:
            if self._limit is not None and len(self._futures) >= self._limit:
                self._waiting.append((call, callback))
                return None
            future = self._start(call)
        return self._track(future, callback)

    def _start(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any]
        try:
            future = self._executor.submit(call)
        except Exception as error:  # raised when the result is read
            future = Future()
            future.set_exception(error)
        self._futures.add(future)
        return future

    def _track(self, future: Future[Any], callback: DoneCallback | None) -> Future[Any]:
        def call_done(future: Future[Any]) -> None:
            self._start_next(future)
            if callback is not None:
                callback(future)

        future.add_done_callback(call_done)
        return future

    def _start_next(self, done: Future[Any]) -> None:
        with self._lock:
            self._futures.discard(done)
            if not self._waiting:
                return
            call, callback = self._waiting.popleft()
            future = self._start(call)
        self._track(future, callback)

    def cancel(self) -> None:
        """Cancel calls that have not started; calls that wait here are dropped."""
        with self._lock:
            self._waiting.clear()
            futures = list(self._futures)
        for future in futures:
            future.cancel()


class Batch:
    """A batch of joblib's calls, in the form in which it is sent to a worker.

    Parameters
    ----------
    calls : callable
        joblib's batch; it makes the calls.
    cores_per_worker : int
        The number of cores for each worker, counted on the submitting rank.
    n_threads : int, optional
        The number of threads that libraries may use.
    """

    def __init__(self, calls: Any, cores_per_worker: int, n_threads: int | None) -> None:
        self._calls = calls
        self._cores_per_worker = cores_per_worker
        self._n_threads = n_threads

    def __repr__(self) -> str:
        return f"<{len(self._calls)} calls of joblib>"

    def __call__(self) -> Any:
        """Make the calls; return the list of their results."""
        n_threads = self._n_threads
        if n_threads is None:
            if is_set_by_user():
                return self._calls()
            n_threads = min(self._cores_per_worker, n_cores())
        with limit_threads(n_threads, ParallelBackendBase.MAX_NUM_THREADS_VARS):
            return self._calls()


class NestedBackend(ThreadingBackend):  # type: ignore[misc, unused-ignore]
    """The backend of a `Parallel` inside a batch: threads, at most the worker's share of the cores.

    Parameters
    ----------
    cores_per_worker : int
        The number of cores for each worker.
    **kwargs
        Those of joblib's `ThreadingBackend`.
    """

    def __init__(self, cores_per_worker: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._cores_per_worker = cores_per_worker

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of threads of a `Parallel` with `n_jobs`."""
        wanted: int = super().effective_n_jobs(n_jobs)
        return min(wanted, self._cores_per_worker, n_cores())
