"""A backend for joblib, and for packages that use joblib, such as scikit-learn.

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

from collections.abc import Callable
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
)

from bsbpool import services
from bsbpool.futures import PoolExecutor
from bsbpool.futures.executor import entered_executor
from bsbpool.integrations._joblib_batches import Batch, LimitedQueue, NestedBackend
from bsbpool.integrations._shared_executor import Lease, shared_executor
from bsbpool.integrations._thread_limits import n_cores
from bsbpool.process import running
from bsbpool.serialization import portable

NAME = "bsbpool"


def register(make_default: bool = False) -> None:
    """Register the backend with joblib as "bsbpool". Further calls do nothing.

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

    joblib shares one backend between all `Parallel` objects in a ``with`` block. Each of them gets
    a backend of its own, which the shared one makes, so that several can be active at a time.

    Parameters
    ----------
    executor : PoolExecutor, optional
        The executor that runs the batches. By default the one whose ``with`` block was entered
        last; without any, an executor that all such backends share.
    nesting_level : int, optional
        The nesting depth of `Parallel` calls, set by joblib.
    inner_max_num_threads : int, optional
        The number of threads that libraries may use in a worker. By default the worker's share of
        the cores, unless ``OMP_NUM_THREADS`` is set there.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1
    # In seconds. The overhead of joblib and the pool is a tenth of a millisecond for each batch.
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
        self._is_shared = True
        self._lease: Lease | None = None
        self._queue: LimitedQueue | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of workers of a `Parallel` with `n_jobs`."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if running.in_job:
            return 1  # the other ranks do not run this job
        n_workers = self._n_workers()
        wanted: int = self.default_n_jobs if n_jobs is None else n_jobs
        return min(wanted, n_workers) if wanted > 0 else max(n_workers + 1 + wanted, 1)

    def _n_workers(self) -> int:
        if (executor := self._executor or entered_executor()) is not None:
            if executor.num_workers == 0:
                raise RuntimeError("The executor is shut down or broken; open a new one")
            return executor.num_workers
        others: int = services.MPI.get_size() - 1
        return max(others, 1)

    # ------------------------------------------------------------ called by joblib

    def configure(self, n_jobs: int = 1, parallel: Any = None, **ignored: Any) -> int:
        """Prepare for a `Parallel`; return the number of its workers.

        The ignored options are about memory-mapped files and about processes.
        """
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self._is_shared:
            own = self._copy()
            own._is_shared = False
            raise FallbackToBackend(own)
        self.parallel = parallel
        self._n_jobs = n_jobs
        self._queue = None
        self._cores_per_worker = max(n_cores() // n_jobs, 1)
        return n_jobs

    def _copy(self) -> BsbPoolBackend:
        return type(self)(self._executor, self.nesting_level, self.inner_max_num_threads)

    def _open_queue(self) -> LimitedQueue:
        # The lease begins here, since joblib may not call `terminate` without a batch.
        if self._executor is None:
            self._lease = shared_executor.lease()
        else:
            self._lease = Lease(self._executor)
        self._queue = LimitedQueue(self._lease.executor, self._n_jobs)
        return self._queue

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Any:
        """Submit a batch; `callback` is called with its future when it has ended."""
        # Most calls of a batch call the same function, which is pickled once.
        functions = {id(f): portable(f) for f, _, _ in func.items}
        func.items = [(functions[id(f)], args, kwargs) for f, args, kwargs in func.items]
        batch = Batch(func, self._cores_per_worker, self.inner_max_num_threads)
        return (self._queue or self._open_queue()).submit(batch, callback)

    apply_async = submit
    """The name of `submit` before joblib 1.5."""

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return the results of a batch, or raise its error."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel the batches that have not started."""
        if self._queue is not None:
            self._queue.cancel()

    def terminate(self) -> None:
        """End the lease of the executor."""
        if self._lease is not None:
            self._lease.end()
        self.reset_batch_stats()

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Return the backend of a `Parallel` inside a batch."""
        depth = (self.nesting_level or 0) + 1
        return NestedBackend(self._cores_per_worker, nesting_level=depth), None

    def __reduce__(self) -> tuple[Any, ...]:
        # The executor stays here: a worker cannot submit calls.
        return type(self), (None, self.nesting_level, self.inner_max_num_threads)
