"""The backend of an executor with several ranks: calls are jobs of a pool.

The thread of the backend executes the pool, whose run goes on while more calls may come. A job
that has ended still takes some fifty bytes in the tables of its pool. So after a million jobs a
new pool replaces the old one, as soon as the workers are idle or nearly so.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool.futures.backend import Backend, Call, FailedCalls, settle_failed
from bsbpool.futures.errors import InitializerError
from bsbpool.futures.executor_pool import CallEnd, ExecutorPool
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.initializer import pack_initializer
from bsbpool.futures.main import ExecutorMainRun
from bsbpool.naming import explain
from bsbpool.process import is_from_signal, marking_signals
from bsbpool.run_context import RunContext
from bsbpool.serialization import Parcel
from bsbpool.status import JobStatus

JOBS_PER_POOL = 1_000_000
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
    """

    _run_of_pool: ExecutorMainRun

    def __init__(
        self,
        service: Any,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__()
        self._service = service
        self.n_workers = min(service.get_size() - 1, max_workers or service.get_size())
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

    # ------------------------------------------------------------ the thread

    def _open_pool(self) -> None:
        pool = ExecutorPool(self._service, self._start_run, self._call_failed)
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

    # ------------------------------------------------------------ from any thread

    def submit(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
    ) -> None:
        """Accept a call without options."""
        with self.lock:
            pool = self._pool
            if pool.kept_open and not self._closed and len(self._jobs) < self._limit:
                pool.queue_call(future, f, args, kwargs)
                return
        self.queue(Call(future, f, args, kwargs))

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
        if not call.deps and not call.cache_items:
            self._pool.queue_call(call.future, call.f, call.args, call.kwargs)
            return []
        error = self._pool.queue_after(*call)
        return [] if error is None else [(call.future, error)]

    def _end_if_closed(self) -> None:
        if self._closed and not self._maps and not self._draining:
            self._pool.kept_open = False
            self._wake()

    def _wake(self) -> None:
        self._run_of_pool.wake()

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
