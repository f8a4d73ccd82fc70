"""joblib, and what is built on it as scikit-learn is, on the ranks of a communicator.

::

    import joblib
    from bsbpool.futures import PoolExecutor
    from bsbpool.integrations.joblib import register

    register()
    with PoolExecutor() as executor:         # on all ranks
        if executor is not None:             # on rank 0; the others have worked until here
            with joblib.parallel_config("bsbpool"):
                search.fit(X, y)

With one process, and under ``python -m bsbpool.run``, no executor needs to be entered.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

try:
    import joblib
except ModuleNotFoundError as error:
    if error.name != "joblib":
        raise
    raise ModuleNotFoundError(
        "joblib is not installed; get it with `pip install bsbpool[joblib]`", name="joblib"
    ) from error
from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    ThreadingBackend,
)

from bsbpool import services
from bsbpool.futures import PoolExecutor
from bsbpool.futures.executor import entered
from bsbpool.integrations import _threads
from bsbpool.integrations._shared_executor import Lease, shared_executor
from bsbpool.running import running
from bsbpool.serialization import portable

NAME = "bsbpool"


def register(make_default: bool = False) -> None:
    """Let joblib know the backend by its name, "bsbpool". Calling it again does nothing.

    Parameters
    ----------
    make_default : bool
        Whether joblib uses it where no backend is named.

    Examples
    --------
    >>> register()
    >>> with joblib.parallel_config("bsbpool"):
    ...     joblib.Parallel()(joblib.delayed(pow)(n, 2) for n in range(3))
    [0, 1, 4]
    """
    joblib.register_parallel_backend(NAME, BsbPoolBackend, make_default=make_default)


class BsbPoolBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc, unused-ignore]
    """Runs the batches of `joblib.Parallel` on an executor.

    What a ``with`` block of joblib names is a pattern. Each `Parallel` gets one of its own, so that
    several may be under way.

    Parameters
    ----------
    executor : PoolExecutor, optional
        Whose workers run them. By default the one whose ``with`` block this is in; else one of its
        own.
    nesting_level : int, optional
        joblib's: how many calls of `Parallel` this is inside of.
    inner_max_num_threads : int, optional
        How many threads libraries may use in a worker. By default its share of the cores, unless
        ``OMP_NUM_THREADS`` is set there.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1
    # In seconds: what joblib and the pool do for a batch takes a tenth of a millisecond.
    MIN_IDEAL_BATCH_DURATION = 0.05
    MAX_IDEAL_BATCH_DURATION = 0.5

    def __init__(
        self,
        executor: PoolExecutor | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._executor = executor
        self._is_pattern = True
        self._lease: Lease | None = None
        self._line: Line | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers a `Parallel` of so many jobs has."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if running.inside_job:
            return 1  # a job is on one rank alone
        n_workers = self._n_workers()
        wanted: int = self.default_n_jobs if n_jobs is None else n_jobs
        return min(wanted, n_workers) if wanted > 0 else max(n_workers + 1 + wanted, 1)

    def _n_workers(self) -> int:
        if (executor := self._executor or entered()) is not None:
            if executor.num_workers == 0:
                raise RuntimeError("The executor has been shut down and cannot run more calls")
            return executor.num_workers
        others: int = services.MPI.get_size() - 1
        return max(others, 1)

    # ------------------------------------------------------------ one call of Parallel

    def configure(self, n_jobs: int = 1, parallel: Any = None, **ignored: Any) -> int:
        """Get ready for a `Parallel`; return how many workers it has.

        What is ignored is about files in which arrays are shared, and about processes.
        """
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self._is_pattern:
            own = type(self)(self._executor, self.nesting_level, self.inner_max_num_threads)
            own._is_pattern = False
            raise FallbackToBackend(own)
        self.parallel = parallel
        self._n_jobs = n_jobs
        self._line = None
        self._share = max(_threads.cores() // n_jobs, 1)
        return n_jobs

    def _begin(self) -> Line:
        """Borrow workers, now that joblib sees to it that they are given back."""
        self._lease = shared_executor.lease() if self._executor is None else Lease(self._executor, None)
        self._line = Line(self._lease.executor, self._n_jobs)
        return self._line

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Any:
        """Have a batch run; call back with its future when it has ended."""
        # Most calls of a batch are of one function, which is pickled once.
        functions = {id(f): portable(f) for f, _, _ in func.items}
        func.items = [(functions[id(f)], args, kwargs) for f, args, kwargs in func.items]
        batch = Batch(func, self._share, self.inner_max_num_threads)
        return (self._line or self._begin()).submit(batch, callback)

    apply_async = submit
    """The name before joblib 1.5."""

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return what a batch returned, or raise what it raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel the batches that have not begun."""
        if self._line is not None:
            self._line.cancel()

    def terminate(self) -> None:
        """Let go of the workers."""
        if self._lease is not None:
            self._lease.give_back()
        self.reset_batch_stats()

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Return what a `Parallel` inside a batch runs on."""
        return InnerBackend(self._share, nesting_level=(self.nesting_level or 0) + 1), None

    def __reduce__(self) -> tuple[Any, ...]:
        # What reaches a worker finds no workers there.
        return type(self), (None, self.nesting_level, self.inner_max_num_threads)


class Line:
    """Calls that run no more than so many at a time.

    Parameters
    ----------
    executor : PoolExecutor
        What runs them.
    width : int
        How many at a time.
    """

    def __init__(self, executor: PoolExecutor, width: int) -> None:
        self._executor = executor
        self._width = width if width < executor.num_workers else None
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._futures: set[Any] = set()

    def submit(self, call: Callable[[], Any], callback: Callable[[Any], Any] | None) -> Any:
        """Have something called; return its future, None while it has to wait."""
        with self._lock:
            if self._width is not None and len(self._futures) >= self._width:
                self._waiting.append((call, callback))
                return None
            future = self._start(call)
        return self._follow(future, callback)

    def _start(self, call: Callable[[], Any]) -> Any:
        try:
            future: Any = self._executor.submit(call)
        except Exception as error:  # whoever waits is to hear of it
            future = Future()
            future.set_exception(error)
        self._futures.add(future)
        return future

    def _follow(self, future: Any, callback: Callable[[Any], Any] | None) -> Any:
        def ended(future: Any) -> None:
            self._let_next_go(future)
            if callback is not None:
                callback(future)

        future.add_done_callback(ended)
        return future

    def _let_next_go(self, ended: Any) -> None:
        with self._lock:
            self._futures.discard(ended)
            if not self._waiting:
                return
            call, callback = self._waiting.popleft()
            future = self._start(call)
        self._follow(future, callback)

    def cancel(self) -> None:
        """Cancel what has not begun; of what waits here nobody hears again."""
        with self._lock:
            self._waiting.clear()
            futures = list(self._futures)
        for future in futures:
            future.cancel()


class Batch:
    """A batch of joblib's calls, as it goes to a worker.

    Parameters
    ----------
    calls : callable
        Makes them.
    share : int
        How many cores there are for each worker, as far as the submitting rank knows.
    n_threads : int, optional
        How many threads libraries may use.
    """

    def __init__(self, calls: Any, share: int, n_threads: int | None) -> None:
        self._calls = calls
        self._share = share
        self._n_threads = n_threads

    def __repr__(self) -> str:
        return f"<{len(self._calls)} calls of joblib>"

    def __call__(self) -> Any:
        """Make the calls; return a list of what they returned."""
        n = self._n_threads
        if n is None:
            if _threads.are_decided():
                return self._calls()
            n = min(self._share, _threads.cores())
        with _threads.at_most(n, ParallelBackendBase.MAX_NUM_THREADS_VARS):
            return self._calls()


class InnerBackend(ThreadingBackend):  # type: ignore[misc, unused-ignore]
    """Threads of a worker, no more than its share of the cores; one of them needs no thread.

    Parameters
    ----------
    share : int
        How many cores there are for each worker.
    **kwargs
        As of joblib's own backend of threads.
    """

    def __init__(self, share: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._share = share

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many threads a `Parallel` of so many jobs has."""
        wanted: int = super().effective_n_jobs(n_jobs)
        return min(wanted, self._share, _threads.cores())
