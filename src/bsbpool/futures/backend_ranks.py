"""The backend of an executor with several ranks: calls are jobs of a pool.

The thread of the backend executes the pool, whose run goes on while more calls may come. A job
that has ended still takes some fifty bytes in the tables of its pool. So after a million jobs a
new pool replaces the old one, as soon as the workers are idle or nearly so.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.inputs import UnresolvedInputs
from bsbpool.futures.backend import Backend
from bsbpool.futures.call_options import Special
from bsbpool.futures.calls import Call, FailedCalls, settle_failed
from bsbpool.futures.errors import InitializerError
from bsbpool.futures.executor_pool import CallEnd, ExecutorPool
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.initializer import pack_initializer
from bsbpool.futures.main import ExecutorMainRun
from bsbpool.naming import explain
from bsbpool.process import is_from_signal, marking_signals
from bsbpool.run_context import RunContext
from bsbpool.serialization import Parcel
from bsbpool.settings import PoolSettings
from bsbpool.status import JobStatus

if TYPE_CHECKING:
    from bsbpool.futures.call_progress import CallProgress
    from bsbpool.futures.worker import Session
    from bsbpool.statistics import Load

JOBS_PER_POOL = 1_000_000
NUMBERS_PER_POOL = 2**31
"""The difference of the numbers with which two pools begin; a pool has fewer jobs."""
SECONDS_OF_DRAINING = 0.05
"""The time that workers may be idle before the replacement of a pool is postponed."""


class Aborted(Exception):
    """Ends a run without waiting for the jobs that run."""


class RanksBackend(Backend):
    """Runs calls on the other ranks of a communicator.

    Parameters
    ----------
    service : MPIService
        This rank and the workers.
    max_workers : int, optional
        The number of ranks that run calls; by default all others.
    initializer : callable, optional
        Called on each worker before its first call.
    initargs : tuple
        Its arguments.
    settings : PoolSettings, optional
        Further settings of its pools.
    """

    _run_of_pool: ExecutorMainRun
    _load: Load
    parallel = True

    def __init__(
        self,
        service: Any,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        settings: PoolSettings | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._n_jobs = 0  # the first number of the next pool
        self._service = service
        self.main_works = settings is not None and bool(settings.main_works)
        n = service.get_size() - (not self.main_works)
        self.n_workers = min(n, max_workers or n)
        self._packed_initializer: Parcel | None = None
        with marking_signals():
            try:
                self._packed_initializer = self._pack_initializer(initializer, initargs)
            except BaseException as error:
                if is_from_signal(error):
                    raise
                explain(error, "The initializer or its arguments cannot be pickled")
                self.broken = error
        # While a pool is drained, calls wait here in order for the next one.
        self._draining = False
        self._waiting: dict[PoolFuture[Any], Call] = {}
        self._draining_until = 0.0
        self._limit = 0 if self.broken else JOBS_PER_POOL
        # The futures of calls that ended with the run; settled when the thread ends.
        self._unsettled: list[PoolFuture[Any]] = []
        self._aborted = False
        self._open_pool()

    def _pack_initializer(
        self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
    ) -> Parcel | None:
        return pack_initializer(initializer, initargs)

    @functools.cached_property
    def session(self) -> Session:
        """The state of a worker in this process."""
        from bsbpool.futures.worker import Session

        return Session()

    # ------------------------------------------------------------ the thread

    def _open_pool(self) -> None:
        pool = ExecutorPool(
            self._service, self._start_run, self._call_failed, self._n_jobs, self._settings
        )
        self._n_jobs += NUMBERS_PER_POOL
        pool.run_context.on_attempt = self.attempt_failed
        pool.__enter__()
        self._pool = pool
        self._jobs = pool.run_context.jobs  # read for each call

    def _start_run(self, context: RunContext, channel: Channel) -> ExecutorMainRun:
        self._run_of_pool = self._make_run(context, channel)
        return self._run_of_pool

    def _make_run(self, context: RunContext, channel: Channel) -> ExecutorMainRun:
        return ExecutorMainRun(context, channel, self)

    def _run_calls(self) -> None:
        go_on = True
        while go_on:
            pool = self._pool
            try:
                pool.execute()
                go_on = self._open_next_pool()
            except Aborted:
                go_on = False
            except BaseException as error:
                self.broken = self.broken or error
                go_on = False
            finally:
                with self.lock:
                    pool.kept_open = False
                    self._closed = self._closed or not go_on
                pool.__exit__(None, None, None)
        self._settle_rest()

    def _open_next_pool(self) -> bool:
        """Replace the pool by a new one; return False when none is needed."""
        with self.lock:
            if not self._draining:
                return False
            self._open_pool()
            self._limit = JOBS_PER_POOL
            failed = self._stop_draining()
        settle_failed(failed)
        return True

    def _stop_draining(self) -> FailedCalls:
        self._draining = False
        self._pool.kept_open = True
        waiting, self._waiting = self._waiting, {}
        failed: FailedCalls = []
        for call in waiting.values():
            failed += self._queue_in_pool(call)
        self._end_if_closed()
        return failed

    def on_turn(self) -> None:
        """Do the work of the backend that is due; called in each iteration of the loop."""
        if self._aborted:
            raise Aborted
        self._run_deferred_calls()
        if not self._draining:
            return
        failed: FailedCalls = []
        with self.lock:
            now = time.monotonic()
            if not self._waiting or self._pool.n_unfinished >= self.n_workers:
                self._draining_until = now + SECONDS_OF_DRAINING
            elif now > self._draining_until:  # some jobs are long: try again later
                self._limit += JOBS_PER_POOL
                failed = self._stop_draining()
        settle_failed(failed)

    def is_last_pool(self) -> bool:
        """Whether no pool follows the current one."""
        with self.lock:
            if self._draining and self._closed and not self._maps and not self._waiting:
                self._draining = False
            return not self._draining

    def _settle_rest(self) -> None:
        """Settle the futures of calls that did not run because the last pool has ended."""
        with self.lock:
            self._closed = True
            rest = [*self._unsettled, *self._waiting]
            self._unsettled, maps = [], list(self._maps)
            self._waiting.clear()
        for future in rest:
            if self.broken is not None:
                future.settle(self.error())
            else:
                future.mark_cancelled()
        for each in maps:
            each.close()

    def _call_failed(self, future: PoolFuture[Any], end: CallEnd, error: BaseException) -> None:
        if isinstance(error, InitializerError) and self._packed_initializer is not None:
            with self.lock:
                self.broken = self.broken or error
                self._limit = 0  # so that `submit` raises the error for the next call
                self._aborted = True
            self._unsettled.append(future)
        elif end is CallEnd.CANCELLED:
            future.mark_cancelled()
        elif end is CallEnd.FAILED:
            future.settle(error)
        elif end is CallEnd.RUN_ENDED_IN_CALL and self.broken is None and self._aborted:
            future.settle(error)  # the call was running, so it does not count as cancelled
        else:
            self._unsettled.append(future)

    def show_progress(self, progress: CallProgress) -> None:
        """Show the progress of all calls from now on."""
        from bsbpool.statistics import Load

        self._load = Load(self._pool.run_context)
        super().show_progress(progress)

    def load(self) -> tuple[int, float | None]:
        """Return the number of workers, and the share of the time for which they were busy."""
        self._load.context = self._pool.run_context
        return self.n_workers, self._load()[1]

    # ------------------------------------------------------------ from any thread

    def submit(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
    ) -> None:
        """Accept a call without options."""
        if not self._submitted(future, f, args, kwargs, None):
            self.queue(Call(future, f, args, kwargs))

    def _submitted(
        self, future: PoolFuture[Any], f: Any, args: Any, kwargs: dict[str, Any], special: Any
    ) -> bool:
        """Pass a call to the pool; return False if only `queue` can do so."""
        with self.lock:
            pool = self._pool
            if not pool.kept_open or self._closed or len(self._jobs) >= self._limit:
                return False
            spec = None if special is None else pool.placement.spec_of(special.options)
            try:
                pool.queue_call(future, f, args, kwargs, None, -1, spec)
            except UnresolvedInputs:
                return False  # it has futures among its arguments, which `queue` resolves
        return True

    def submit_by_name(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: tuple[Any, ...],
        special: Special | None = None,
    ) -> None:
        """Accept a call of a function of a module; its arguments use no globals of a script."""
        simple = special is None or (special.options.is_placement and not special.futures)
        if not simple or not self._submitted(future, f, args, {}, special):
            RanksBackend.queue(self, Call(future, f, args, {}, special=special))

    def _accept(self, call: Call) -> FailedCalls:
        if self._draining:
            self._waiting[call.future] = call
            return []
        failed = self._queue_in_pool(call)
        if len(self._jobs) >= self._limit:
            self._draining = True
            self._draining_until = time.monotonic() + SECONDS_OF_DRAINING
            self._pool.kept_open = False
        return failed

    def _queue_in_pool(self, call: Call) -> FailedCalls:
        if not call.deps and not call.cache_items and call.special is None:
            # An empty tuple: the arguments may have broadcast objects, but no futures.
            self._pool.queue_call(call.future, call.f, call.args, call.kwargs, ())
            return []
        error = self._pool.queue_after(call)
        return [] if error is None else [(call.future, error)]

    def _end_if_closed(self) -> None:
        if self._closed and not self._maps and not self._draining:
            self._pool.kept_open = False
            self._wake()

    def _wake(self) -> None:
        self._run_of_pool.wake()

    def set_prefetch(self, prefetch: bool) -> None:
        """Set whether quick calls are sent before a worker has ended the one before."""
        with self.lock:
            settings = self._settings or PoolSettings()
            self._settings = dataclasses.replace(settings, prefetch=prefetch)
            self._pool.run_context.engine.disable_prefetch(not prefetch)

    @property
    def worker_ranks(self) -> list[int]:
        """The ranks that run calls and have not died."""
        return self._run_of_pool.worker_ranks

    def has_unfinished_calls(self) -> bool:
        """Whether some calls have not ended."""
        return bool(self._waiting) or self._pool.n_unfinished > 0

    def _is_busy(self) -> bool:
        return self._pool.n_running > 0 or self._pool.n_unfinished == 0

    def _cancel_waiting(self) -> None:
        with self.lock:
            futures = [*self._waiting, *self._pool.futures()]
        for future in futures:
            future.cancel()

    def withdraw(self, future: PoolFuture[Any]) -> bool:
        """Make sure that a call does not run; return False when it has started."""
        if self.in_forked_child:
            return False
        with self.lock:
            job = future.pool_job
            if job is None:  # it waits for the next pool, or has just ended
                return self._waiting.pop(future, None) is not None
            withdrawn: bool = job.withdraw()
            return withdrawn

    def interrupt(self, future: PoolFuture[Any]) -> bool:
        """Cancel a call that runs; return False if it has ended."""
        job = future.pool_job
        return job is not None and not self.in_forked_child and self._pool.interrupt(job)

    def is_running(self, future: PoolFuture[Any]) -> bool:
        """Whether a call has started and has not ended."""
        job = future.pool_job
        return job is not None and job.status is JobStatus.RUNNING

    def abort(self) -> None:
        """End without waiting for calls that run."""
        if self.in_forked_child:
            return
        with self.lock:
            self._closed = True
            self._aborted = True
        self._wake()

    # ------------------------------------------------------------ the prelude

    def prelude(self) -> Parcel | None:
        """Return the pickled search path and initializer; None when there is neither."""
        path = self._changed_path()
        if path is None and self._packed_initializer is None:
            return None
        payload, buffers = self._packed_initializer or (None, [])
        return pickle.dumps((path, payload)), buffers

    def _changed_path(self) -> list[str] | None:
        """Return the program's `sys.path` if the workers have another one."""
        return None
