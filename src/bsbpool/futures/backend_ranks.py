"""A backend of other ranks: calls are jobs of a pool that this rank runs in a thread.

The run of a pool goes on while calls may come. What is left of a job that has ended are some
fifty bytes in the tables of its pool, so after a million of them, when there is nothing to do or
soon after, the pool gives way to a new one.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

from bsbpool.execution.main import MainRun
from bsbpool.futures.backend import Backend, Call, Failed, settle
from bsbpool.futures.errors import InitializerError, dependency_error
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.pools import ExecutorPool
from bsbpool.futures.preparing import packed
from bsbpool.futures.serving import FOLLOWED, OVER, PREPARE
from bsbpool.interrupts import is_from_signal, marking_signals
from bsbpool.naming import explain
from bsbpool.serialization import Parcel
from bsbpool.status import JOB_STATUSES, JobStatus

JOBS_A_POOL = 1_000_000
SECONDS_OF_DRAINING = 0.05
"""How long workers may have nothing to do for the sake of a new pool."""
PREPARATION = 0xFFFF_FFFF
"""The number of the prelude among the functions: the initializer, and the search path."""


class Abandoned(Exception):
    """Ends a run of which nobody wants to see the end."""


class RanksBackend(Backend):
    """Has calls run by the other ranks of a communicator.

    Parameters
    ----------
    service : MPIService
        This rank and those that serve it.
    max_workers : int, optional
        How many of them get calls; all by default.
    initializer : callable, optional
        What each of them calls before its first call.
    initargs : tuple
        Its arguments.
    """

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
        self.preparation: Any = None
        with marking_signals():
            try:
                self.preparation = self._packed(initializer, initargs)
            except BaseException as error:
                if is_from_signal(error):
                    raise
                explain(error, "The initializer or its arguments cannot be pickled")
                self.broken = error
        self._waiting: dict[PoolFuture, Call] = {}  # for the next pool, in order
        self._draining = False
        self._drained_until = 0.0
        self._limit = 0 if self.broken else JOBS_A_POOL
        self._cut_off: list[PoolFuture] = []
        self.abandoned = False
        self._pool = self._new_pool()

    @property
    def _run_kind(self) -> type[ExecutorRun]:
        return ExecutorRun

    def _packed(
        self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
    ) -> Parcel | None:
        return packed(initializer, initargs)

    # The thread

    def _new_pool(self) -> ExecutorPool:
        pool = ExecutorPool(self._service, self._run_kind, backend=self)
        pool.__enter__()
        return pool

    def _work(self) -> None:
        follows = True
        while follows:
            pool = self._pool
            try:
                pool.execute()
                follows = self._follow()
            except Abandoned:
                follows = False
            except BaseException as error:
                self.broken = self.broken or error
                follows = False
            finally:
                with self._lock:
                    pool.kept_open = False
                    self._closed = self._closed or not follows
                pool.__exit__(None, None, None)
        self._settle_rest()

    def _follow(self) -> bool:
        """Go on with a new pool, if there will be one."""
        with self._lock:
            if not self._draining:
                return False
            self._pool = self._new_pool()
            self._limit = JOBS_A_POOL
            failed = self._stop_draining()
        settle(failed)
        return True

    def _stop_draining(self) -> Failed:
        self._draining = False
        self._pool.kept_open = True
        waiting, self._waiting = self._waiting, {}
        failed: Failed = []
        for call in waiting.values():
            failed += self._queue(call)
        self._consider_ending()
        return failed

    def look_up(self) -> None:
        """See what there is to do beside running jobs; called in each turn of the run."""
        if self.abandoned:
            raise Abandoned
        self._run_deferred_calls()
        if not self._draining:
            return
        failed: Failed = []
        with self._lock:
            now = time.monotonic()
            if not self._waiting or self._pool.run_context.engine.unfinished >= self.n_workers:
                self._drained_until = now + SECONDS_OF_DRAINING
            elif now > self._drained_until:  # some jobs are long: another time
                self._limit += JOBS_A_POOL
                failed = self._stop_draining()
        settle(failed)

    def is_last(self) -> bool:
        """Whether no pool follows the present one."""
        with self._lock:
            if self._draining and self._closed and not self._streams and not self._waiting:
                self._draining = False
            return not self._draining

    def _settle_rest(self) -> None:
        """Tell those whose calls the end of the last pool has ended."""
        with self._lock:
            self._closed = True
            rest = [*self._cut_off, *self._waiting]
            self._cut_off, streams = [], list(self._streams)
            self._waiting.clear()
        for future in rest:
            if self.broken is not None:
                future.settle(self.error())
            else:
                future.be_cancelled()
        for stream in streams:
            stream.close()

    def deliver(self, job: Any) -> None:
        """Give the outcome of a job to who waits for it, and forget the job; in the thread."""
        future: PoolFuture = job._context
        pool = job._pool
        outcome, succeeded = pool.drop_job(job)
        if succeeded:
            if not future.ends_unnoticed(None, outcome):
                future.settle(None, outcome)
        else:
            self._deliver_failure(future, job, pool.error_of(job, outcome))
        future._job = None

    def _deliver_failure(self, future: PoolFuture, job: Any, error: BaseException) -> None:
        engine = job._pool.run_context.engine
        if isinstance(error, InitializerError) and self.preparation is not None:
            with self._lock:
                self.broken = self.broken or error
                self._limit = 0  # so that the next call hears of it
                self.abandoned = True
            self._cut_off.append(future)
        elif engine.ended_by_run(job._id):
            self._end_cut_off(future, job, error)
        elif job.status is not JobStatus.CANCELLED or engine.dependency_failed(job._id):
            future.settle(error)
        else:
            future.be_cancelled()

    def _end_cut_off(self, future: PoolFuture, job: Any, error: BaseException) -> None:
        if job.status is JobStatus.ABORTED and self.broken is None and self.abandoned:
            future.settle(error)  # it was running, so it was not cancelled
        else:
            self._cut_off.append(future)

    # From any thread

    def submit(
        self, future: PoolFuture, f: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Take a call about which nothing else is call options."""
        with self._lock:
            pool = self._pool
            if pool.kept_open and not self._closed and len(pool.run_context.jobs) < self._limit:
                pool.queue_call(future, f, args, kwargs)
                return
        self.queue(Call(future, f, args, kwargs))

    def _take(self, call: Call) -> Failed:
        if self._draining:
            self._waiting[call.future] = call
            return []
        failed = self._queue(call)
        if len(self._pool.run_context.jobs) >= self._limit:
            self._draining = True
            self._drained_until = time.monotonic() + SECONDS_OF_DRAINING
            self._pool.kept_open = False
        return failed

    def _queue(self, call: Call) -> Failed:
        pool, future = self._pool, call.future
        if not call.deps and not call.cache_items:
            pool.queue_call(future, call.f, call.args, call.kwargs)
            return []
        deps = []
        for dep in call.deps:
            job = dep._job  # once: it goes when the future is done
            if job is not None and job._pool is pool:
                deps.append(job)
            elif (error := dependency_error(dep)) is not None:
                return [(future, error)]
        cache_set = pool.cache_set(call.cache_items)
        pool.queue_call(future, call.f, call.args, call.kwargs, deps or None, cache_set)
        return []

    def _consider_ending(self) -> None:
        if self._closed and not self._streams and not self._draining:
            self._pool.kept_open = False
            self._wake()

    def _wake(self) -> None:
        self._pool.run_context.run.wake()

    def is_lingering(self) -> bool:
        """Whether some calls have not ended."""
        return bool(self._waiting) or self._pool.run_context.engine.unfinished > 0

    def _is_busy(self) -> bool:
        engine = self._pool.run_context.engine
        running: int = engine.counts()[JOB_STATUSES.index(JobStatus.RUNNING)]
        return running > 0 or engine.unfinished == 0

    def _cancel_waiting(self) -> None:
        with self._lock:
            jobs = list(self._pool.run_context.jobs)
            futures = list(self._waiting)
        futures += [job._context for job in jobs if job._context is not None]
        for future in futures:
            future.cancel()

    def take_back(self, future: PoolFuture) -> bool:
        """See to it that a call does not run; False when it has begun."""
        if self.inherited:
            return False
        with self._lock:
            job = future._job
            if job is None:  # it waits for the next pool, or has just ended
                return self._waiting.pop(future, None) is not None
            pool: ExecutorPool = job._pool
            before = pool.run_context.engine.cancel(job._id, running=False)
        pool.run_context.run.wake()
        return before in (JobStatus.PENDING, JobStatus.QUEUED)

    def is_running(self, future: PoolFuture) -> bool:
        """Whether a call has begun."""
        job = future._job
        return job is not None and job.status is JobStatus.RUNNING

    def abandon(self) -> None:
        """End now: wait for nothing that runs."""
        if self.inherited:
            return
        with self._lock:
            self._closed = True
            self.abandoned = True
        self._wake()

    def prelude(self) -> Parcel | None:
        """Return what workers must know before their first call; None when there is nothing."""
        path = self._new_path()
        if path is None and self.preparation is None:
            return None
        payload, buffers = self.preparation or (None, [])
        return pickle.dumps((path, payload)), buffers

    def _new_path(self) -> list[str] | None:
        """Return the `sys.path` of the program, when workers do not have it."""
        return None


class ExecutorRun(MainRun):
    """The run of a pool of an executor, on the rank that submits."""

    def __init__(self, pool: ExecutorPool, channel: Any) -> None:
        super().__init__(pool.run_context, channel)
        assert pool.backend is not None
        self._backend: RanksBackend = pool.backend
        self._loop.unpickles = True  # a future is the only reader
        self._prelude_is_old = False
        if self._backend.prelude() is not None:
            self._loop.begin_with(PREPARATION)
        self._spare = [
            rank
            for rank in range(self._n_ranks - 1, self._backend.n_workers, -1)
            if rank not in channel.lost
        ]
        self._hold_spare()

    def _hold_spare(self) -> None:
        for rank in self._spare:
            self._context.engine.hold(rank - 1)

    def encode(self, number: int) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job; whatever that raises is the job's error, for no signal raises here."""
        self._renew_prelude_if_old()
        try:
            return super().encode(number)
        except BaseException as error:
            self._context.events.job_failed(self._context.jobs[number], error)
            return None

    def function(self, number: int) -> tuple[int, bytes, list[memoryview]]:
        """Return what to send for a function."""
        if number == PREPARATION and (prelude := self._backend.prelude()) is not None:
            return PREPARE, *prelude
        return super().function(number)

    def send_prelude_again(self) -> None:
        """Send the prelude to each worker before its next job; the caller holds the backend's lock."""
        self._prelude_is_old = True
        self._loop.direct = False  # so that `encode` is asked about the next job

    def _renew_prelude_if_old(self) -> None:
        if self._prelude_is_old:
            self._renew_prelude()

    def _renew_prelude(self) -> None:
        with self._backend._lock:
            self._prelude_is_old = False
            self._allow_direct()
        # Workers are sent each function again, and the prelude before that.
        self._functions.forget_all(PREPARATION)
        self._loop.begin_with(PREPARATION)

    def _allow_direct(self) -> None:
        with self._backend._lock:
            super()._allow_direct()
            if self._prelude_is_old:
                self._loop.direct = False

    def lost(self, rank: int, jobs: list[int]) -> None:
        """Let a rank that had nothing to do take the place of one that died."""
        super().lost(rank, jobs)
        if rank in self._spare:
            self._spare.remove(rank)
        elif self._spare:
            self._context.engine.hold(self._spare.pop() - 1, False)

    def turn(self) -> bool:
        """Tell what happened; True when there is nothing left to do."""
        self._backend.look_up()
        if self._spare and self._context.engine.n_unavailable < len(self._spare):
            self._hold_spare()  # one came back from a long job of an earlier run
        return super().turn()

    def _stop_code(self) -> int:
        return OVER if self._backend.is_last() else FOLLOWED
