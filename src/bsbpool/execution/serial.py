"""Running a pool's jobs in this process, one after the other."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.runtime.serial_loop import SerialLoop
from bsbpool.execution.cachekeeping import CacheKeeper
from bsbpool.execution.deadlock import deadlock_message
from bsbpool.execution.owner_note import note_owner
from bsbpool.execution.waiting import Pacer
from bsbpool.forks import end_if_child_of
from bsbpool.interrupts import is_from_signal, noticing_signals
from bsbpool.running import running
from bsbpool.status import JOB_STATUSES, JobStatus, PoolStatus

if TYPE_CHECKING:
    from bsbpool.job import Job
    from bsbpool.pool import JobPool

SUCCESS = JOB_STATUSES.index(JobStatus.SUCCESS)
FAILED = JOB_STATUSES.index(JobStatus.FAILED)


class SerialRun:
    """Runs jobs in the thread that executes the pool.

    Only when a listener asked to be called at a pace, jobs run in a thread of
    their own (one for all jobs), so that the pings can be delivered meanwhile.
    Arguments are not pickled, and results only where `max_memory` bounds them.
    """

    parallel = False

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool
        self._cache = CacheKeeper(pool)
        self._pacer = Pacer(pool)
        self._helper: _Helper | None = None
        self._process = os.getpid()
        self._loop = SerialLoop(pool, pool.owner, running, pool._reporter.event_queue.waiting, self)

    def execute(self) -> None:
        """Run all jobs."""
        pool = self._pool
        try:
            pool.change_status(PoolStatus.EXECUTING)
            pool.notify()
            self._wait_for_schedulers()
            pool._engine.start()
            with self._cache.home(), self._noticing():
                self._loop.run(pool._limit.given)
                # In this order: what the last scheduler queued must be counted. Jobs and
                # callbacks may have started it.
                while pool.scheduling or pool._engine.ready:
                    self._wait_for_schedulers()
                    self._loop.run(pool._limit.given)
                pool._read_results()
            if pool._engine.unfinished:
                raise exceptions.JobPoolError(deadlock_message(pool))
            pool.change_status(PoolStatus.CLOSING)
            pool.notify()
            pool.raise_unhandled()
        except BaseException as error:
            pool._engine.end()
            pool._close_early(error)
            raise
        finally:
            if self._helper is not None:
                self._helper.stop()
            self._cache.free_all()

    def _noticing(self) -> AbstractContextManager[None]:
        """Notice signals where results are pickled, which may raise what signals do."""
        return nullcontext() if self._pool._store is None else noticing_signals()

    def leave(self) -> None:
        """Do nothing: nobody else takes part."""

    def needed_tokens(self) -> Collection[int]:
        """Return what the core says."""
        return frozenset(self._pool._engine.needed_items)

    def wake(self) -> None:
        """Do nothing: the schedulers are waited for before the jobs run."""

    def _wait_for_schedulers(self) -> None:
        # Schedulers may read what jobs write, and here they would do so in one
        # process at one time; with several ranks they do not.
        self._pacer.reset()
        while not self._pool._schedulers.join(min(self._seconds, 0.05)):
            self._look_up()
        self._pool._limit.check()

    def perform(self, job: Job) -> None:
        """Run one job and keep what came of it."""
        pool = self._pool

        def call() -> Any:
            with self._cache.home():
                return running.call(job.execute, pool.owner, job._args, job._kwargs)

        # What goes wrong while the job is waited for is not the job's.
        outcome = self._call_apart(call) if self.paced() else call
        try:
            value = outcome()
        except KeyboardInterrupt:
            raise  # the user's, not the job's
        except BaseException as error:
            self.failed(job, error)
        else:
            self._succeed(job, value)
        if pool._needs:
            self.swept()

    def _succeed(self, job: Job, value: Any) -> None:
        try:
            job._end_with(self._pool._kept(value))
        except BaseException as error:
            self.failed(job, error)
        else:
            self._pool._engine.finish(self._pool._number_of(job), SUCCESS)

    # As the loop's host

    def notify(self) -> None:
        """Tell what happened."""
        self._pool.notify()

    def paced(self) -> bool:
        """Whether jobs run in a thread of their own, for the sake of pings."""
        return self._pool._reporter.event_queue.paced

    def check(self) -> None:
        """Raise when the time of the run is up."""
        self._pool._limit.check()

    def failed(self, job: Job, error: BaseException) -> None:
        """Keep the error of a job, unless it was cancelled meanwhile."""
        end_if_child_of(self._process, error)
        if is_from_signal(error):
            raise error  # it is not the job that failed
        pool = self._pool
        if job._function is not None:
            note_owner(error, pool.owner)
        with pool._lock:
            if job.status is JobStatus.RUNNING:
                pool._reporter.failed(job, error)
            pool._engine.finish(pool._number_of(job), FAILED)

    def swept(self) -> None:
        """Free the cache items that became unneeded."""
        self._cache.sweep_if_replaced()
        self._cache.free(self._pool._engine.take_unneeded())

    def _call_apart(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """Call in the thread for jobs, pinging meanwhile; return what gives the outcome."""
        if self._helper is None:
            self._helper = _Helper()
        self._pacer.reset()
        self._helper.begin(contextvars.copy_context(), call)
        while not self._helper.done.wait(self._seconds):
            self._look_up()
        return self._helper.outcome

    @property
    def _seconds(self) -> float:
        """How long this thread may wait without looking up."""
        return min(self._pacer.seconds, self._pool._limit.seconds)

    def _look_up(self) -> None:
        self._pacer.ping_if_due()
        self._pool.notify()
        self._pool._limit.check()


class _Helper:
    """A thread that calls one function after the other."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self._process = os.getpid()
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._value: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._work, name="bsbpool-serial", daemon=True).start()

    def begin(self, context: contextvars.Context, call: Callable[[], Any]) -> None:
        self.done.clear()
        self._tasks.put((context, call))

    def outcome(self) -> Any:
        error, self._error = self._error, None
        value, self._value = self._value, None
        if error is not None:
            raise error
        return value

    def stop(self) -> None:
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            context, call = task
            try:
                self._value = context.run(call)
            except BaseException as error:
                end_if_child_of(self._process, error)
                self._error = error
            del context, call, task
            self.done.set()
