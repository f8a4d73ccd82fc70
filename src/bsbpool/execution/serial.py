"""Running a pool's jobs in this process, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext

from bsbpool import exceptions
from bsbpool._core.runtime.serial_loop import SerialLoop
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.events import PingTimer
from bsbpool.process import before_forks, end_if_child_of, is_from_signal, marking_signals, running
from bsbpool.status import JOB_STATUSES, JobStatus, PoolStatus

if TYPE_CHECKING:
    from bsbpool.execution.job_thread import JobThread
    from bsbpool.job import Job
    from bsbpool.run_context import RunContext

SUCCESS = JOB_STATUSES.index(JobStatus.SUCCESS)
FAILED = JOB_STATUSES.index(JobStatus.FAILED)


def _import_late_modules() -> None:
    """Import the modules that this one, and those above it, import on first use."""
    import re  # noqa: F401

    from bsbpool import (
        job_control,  # noqa: F401
        lifecycle,  # noqa: F401
        serialization,  # noqa: F401
        submission_context,  # noqa: F401
    )
    from bsbpool.execution import signature_note  # noqa: F401


before_forks(_import_late_modules)


class SerialRun:
    """Runs jobs in the thread that executes the pool.

    If a listener has a `max_wait`, the jobs run in a second thread (one for all jobs), so that the
    listener can be called meanwhile. Arguments are not pickled; results are only where
    `max_memory` bounds them.
    """

    parallel = False

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._ping_timer = PingTimer(context.events)
        self._thread: JobThread | None = None
        self._process = os.getpid()
        self._loop = SerialLoop(
            context.submitter, context.owner, running, context.events.records, self
        )

    def execute(self) -> None:
        """Run all jobs."""
        context, pool = self._context, self._context.pool
        try:
            pool.change_status(PoolStatus.EXECUTING)
            pool.notify()
            self._wait_for_schedulers()
            context.engine.start_run()
            with context.cache.scope(), self._marking_signals():
                self._loop.run(context.time_limit.is_set)
                # Jobs and callbacks may have started schedulers. `scheduling` is read first: a job
                # that a scheduler queues before it ends must be counted.
                while pool.scheduling or context.engine.ready:
                    self._wait_for_schedulers()
                    self._loop.run(context.time_limit.is_set)
                context.read_results()
            if context.engine.unfinished:
                from bsbpool.execution.deadlock import deadlock_message

                raise exceptions.JobPoolError(deadlock_message(context))
            pool.change_status(PoolStatus.CLOSING)
            pool.notify()
            pool.raise_unhandled()
        except BaseException as error:
            context.end_early(error)
            raise
        finally:
            if self._thread is not None:
                self._thread.stop()
            context.cache.free_all()

    def _marking_signals(self) -> AbstractContextManager[None]:
        """Mark errors of signals where results are pickled: pickling may raise similar errors."""
        return nullcontext() if self._context.store is None else marking_signals()

    def close(self) -> None:
        """Do nothing: there are no other ranks."""

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need."""
        return frozenset(self._context.engine.needed_items)

    def wake(self) -> None:
        """Do nothing: jobs run after all schedulers have ended."""

    def _wait_for_schedulers(self) -> None:
        # A scheduler may read files that jobs write; with several ranks they do not share a
        # process, so here they do not run at the same time.
        self._ping_timer.reset()
        while not self._context.schedulers.join(min(self._seconds, 0.05)):
            self._notify_and_check()
        self._context.check_time()

    def perform(self, job: Job[Any]) -> None:
        """Run one job and keep its outcome."""
        context = self._context

        def call() -> Any:
            args, kwargs = job.execute_arguments
            with context.cache.scope():
                return running.call(job.execute, context.owner, args, kwargs)

        # Errors of listeners that are called meanwhile are not errors of the job.
        outcome = self._call_in_thread(call) if self.uses_job_thread() else call
        try:
            value = outcome()
        except KeyboardInterrupt:
            raise  # Ctrl-C ends the run, not the job
        except BaseException as error:
            self.job_failed(job, error)
        else:
            self._succeed(job, value)
        if context.cache_requirements:
            self.free_unneeded_items()

    def _succeed(self, job: Job[Any], value: Any) -> None:
        try:
            job.set_outcome(self._context.kept(value))
        except BaseException as error:
            self.job_failed(job, error)
        else:
            assert job.number is not None
            self._context.engine.finish(job.number, SUCCESS)

    # The callbacks of the compiled loop

    def deliver_events(self) -> None:
        """Deliver the events."""
        self._context.pool.notify()

    def uses_job_thread(self) -> bool:
        """Whether the loop must call `perform`, since a listener has a `max_wait`."""
        return self._context.events.has_max_wait

    def check_time_limit(self) -> None:
        """Raise when the time limit of the run is reached."""
        self._context.check_time()

    def job_failed(self, job: Job[Any], error: BaseException) -> None:
        """Record the error of a job, unless the job was cancelled meanwhile."""
        end_if_child_of(self._process, error)
        if is_from_signal(error):
            raise error  # a signal ends the run, not the job
        context = self._context
        if job.function_call is not None:
            from bsbpool.execution.signature_note import note_signature

            note_signature(error, context.owner)
        assert job.number is not None
        with context.lock:
            if job.status is JobStatus.RUNNING:
                context.events.job_failed(job, error)
            context.engine.finish(job.number, FAILED)

    def free_unneeded_items(self) -> None:
        """Free the cache items that no job needs any more."""
        self._context.cache.refresh()
        self._context.cache.free(self._context.engine.pop_unneeded())

    # Running jobs in a thread

    def _call_in_thread(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """Call in the thread and ping meanwhile; return a function that gives the outcome."""
        if self._thread is None:
            from bsbpool.execution.job_thread import JobThread

            self._thread = JobThread()
        self._ping_timer.reset()
        self._thread.start_call(call)
        while not self._thread.wait(self._seconds):
            self._notify_and_check()
        return self._thread.outcome

    @property
    def _seconds(self) -> float:
        """The seconds until a ping or the time limit is due."""
        return min(self._ping_timer.seconds, self._context.time_limit.seconds)

    def _notify_and_check(self) -> None:
        if self._ping_timer.take_due():
            self._context.pool.ping()
        self._context.pool.notify()
        self._context.check_time()
