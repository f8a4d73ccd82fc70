"""Running a pool's jobs in this process, one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext

from bsbpool import exceptions
from bsbpool._core.jobs.invoke import InterruptKind
from bsbpool._core.runtime.serial_loop import SerialLoop
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.events import PingTimer
from bsbpool.naming import name_of
from bsbpool.process import (
    before_forks,
    end_if_child_of,
    interruptible,
    is_from_outer_job,
    is_from_signal,
    logs_if_used,
    marking_signals,
    running,
)
from bsbpool.run_context import INTERRUPTING
from bsbpool.status import JOB_STATUSES, JobStatus, PoolStatus

if TYPE_CHECKING:
    from bsbpool.current import CurrentJob
    from bsbpool.deadlines import DeadlineTimer
    from bsbpool.execution.job_thread import JobThread
    from bsbpool.execution.strict import StrictCalls
    from bsbpool.jobs import Job
    from bsbpool.run_context import RunContext
    from bsbpool.timers import Repeating

CANCEL = int(InterruptKind.CANCEL_INTERRUPT)
RUN_ENDED = int(InterruptKind.RUN_ENDED_INTERRUPT)
SUCCESS = JOB_STATUSES.index(JobStatus.SUCCESS)
FAILED = JOB_STATUSES.index(JobStatus.FAILED)
SECONDS_BETWEEN_INTERRUPTS = 0.05


def _import_late_modules() -> None:
    """Import the modules that this one, and those above it, import on first use."""
    import re  # noqa: F401

    from bsbpool import (
        dataflow,  # noqa: F401
        job_control,  # noqa: F401
        lifecycle,  # noqa: F401
        serialization,  # noqa: F401
        submission_context,  # noqa: F401
    )
    from bsbpool._core.jobs import wait_chain  # noqa: F401
    from bsbpool.caching import ids  # noqa: F401
    from bsbpool.execution import deadlock, job_thread, signature_note, strict  # noqa: F401


before_forks(_import_late_modules)


class SerialRun:
    """Runs jobs in the thread that executes the pool.

    If a listener has a `max_wait`, the jobs run in a second thread (one for all jobs), so that the
    listener can be called meanwhile. Arguments are not pickled; results are only where
    `max_memory` bounds them.
    """

    parallel = False
    hosts: tuple[str, ...] = ()
    clock_offsets: tuple[float, ...] = ()
    worker_ranks = (0,)

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._ping_timer = PingTimer(context.events)
        self._thread: JobThread | None = None
        self._strict_calls: StrictCalls | None = None
        self._deadline_timer: DeadlineTimer | None = None
        self._interrupts: Repeating | None = None
        self._process = os.getpid()
        self._log: Any = None
        self._loop = SerialLoop(
            context.submitter, context.owner, running, context.events.records, self
        )

    def describe(self) -> Iterator[str]:
        """Return lines about what this rank does at present."""
        from bsbpool.execution.run_state import head_lines, label_of

        yield from head_lines(self._context)
        number = self._loop.running_job.number
        if number >= 0:
            yield f"it runs {label_of(self._context, number)}"
        elif self._context.pool.scheduling:
            yield "it waits for threads that queue jobs"

    def running_jobs(self) -> list[tuple[int, int, float | None]]:
        """Return the job that runs: the rank and the number; it is not known for how long."""
        number = self._loop.running_job.number
        return [] if number < 0 else [(0, number, None)]

    def execute(self) -> None:
        """Run all jobs."""
        context, pool = self._context, self._context.pool
        try:
            pool.change_status(PoolStatus.EXECUTING)
            pool.notify()
            self._wait_for_schedulers()
            context.start_run()
            self._update_deadlines()
            self._log = self._debug_log()
            if context.journal is not None:
                self._loop.set_events(context.events)
            self._loop.indirect = context.strict or self._log is not None
            with (
                context.cache.scope(),
                self._marking_signals(),
                self._interruptible(),
                self._ending_jobs_in_time(),
            ):
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
            if self._thread is not None and isinstance(error, INTERRUPTING):
                self._interrupt(RUN_ENDED)  # the thread is abandoned
            context.end_early(error)
            raise
        finally:
            if self._thread is not None:
                self._thread.stop()
            if self._deadline_timer is not None:
                self._deadline_timer.stop()
            context.cache.free_all()

    def _marking_signals(self) -> AbstractContextManager[None]:
        """Mark errors of signals where results are pickled: pickling may raise similar errors."""
        return nullcontext() if self._context.store is None else marking_signals()

    def _interruptible(self) -> AbstractContextManager[None]:
        errors = exceptions.interrupt_classes()
        return interruptible(self._loop.running_job, errors, self._describe)

    def _describe(self, number: int) -> CurrentJob:
        """Describe the job that is running, for `current_job`."""
        from bsbpool.current import CurrentJob

        job = self._context.jobs[number]
        call = job.function_call
        name = type(job).__name__ if call is None else name_of(call[0])
        rank = self._context.comm.get_rank()
        return CurrentJob(
            self._loop.running_job, name, rank, label=job.label, send_output=self._job_output
        )

    def _job_output(self, number: int, stream: int, data: bytes) -> None:
        self._context.events.job_output(self._context.jobs[number], stream, data)

    def interrupt(self, number: int, reason: str) -> None:
        """Raise a JobCancelledError in a job if it is running; from any thread."""
        self._loop.running_job.interrupt(number, CANCEL, reason.encode(errors="replace"))

    def _interrupt(self, kind: int) -> None:
        """Interrupt the job that is running, if there is one."""
        running_job = self._loop.running_job
        running_job.interrupt(running_job.number, kind)

    def _ending_jobs_in_time(self) -> AbstractContextManager[Any]:
        """Interrupt jobs when the time limit of the run is over."""
        limit = self._context.time_limit
        if not limit.is_set:
            return nullcontext()
        from bsbpool.timers import Repeating

        # Repeated, since the next job may begin at the same moment.
        self._interrupts = Repeating(
            lambda: self._interrupt(RUN_ENDED), SECONDS_BETWEEN_INTERRUPTS, limit.end
        )
        return self._interrupts

    def close(self) -> None:
        """Do nothing: there are no other ranks."""

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need."""
        return frozenset(self._context.engine.needed_items)

    def wake(self) -> None:
        """Let the loop check the time limit, and end the present job if that is over."""
        self._loop.check_soon()
        if self._context.time_limit.is_over:
            self._interrupt(RUN_ENDED)
        elif self._interrupts is not None:
            self._interrupts.move(self._context.time_limit.end)  # a signal may have changed it
        self._update_deadlines()

    def _update_deadlines(self) -> None:
        """Let jobs that wait too long be cancelled while others run."""
        if not self._context.has_deadlines:
            return
        with self._context.lock:
            if self._deadline_timer is None:
                from bsbpool.deadlines import DeadlineTimer

                self._deadline_timer = DeadlineTimer(self._context.deadlines)
        self._deadline_timer.update()

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
        running_job = self._loop.running_job

        def call() -> Any:
            assert job.number is not None
            with context.cache.scope(), self._interruptible():
                if job.has_inputs or context.strict or job.options is not None:
                    return running_job.run(job.number, running.call, self.call_job, job)
                args, kwargs = job.execute_arguments
                call = running.call, job.execute, context.owner, args, kwargs
                return running_job.run(job.number, *call)

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

    def _debug_log(self) -> Any:
        """Return the logger of jobs if it logs the begin and the end of each; else None."""
        logs = logs_if_used()
        return None if logs is None else logs.debug_logger("jobs")

    def call_job(self, job: Job[Any]) -> Any:
        """Call a job that has jobs among its arguments or options, or any job if that is needed."""
        if self._log is None:
            return self._call_job(job)
        self._loop.running_job.mask()  # until the job is called
        self._log.debug("running %s", job.label)
        began = time.monotonic()
        try:
            return self._call_job(job)
        finally:
            self._log.debug("%s ended after %.6f s", job.label, time.monotonic() - began)

    def _call_job(self, job: Job[Any]) -> Any:
        if self._context.strict:
            if self._strict_calls is None:
                from bsbpool.execution.strict import StrictCalls

                self._strict_calls = StrictCalls(self._context.owner)
            return self._strict_calls.call(job)
        args, kwargs = job.execute_arguments
        running_job = self._loop.running_job
        if job.has_inputs:
            from bsbpool.dataflow import resolved

            running_job.mask()  # an interrupt is not an error of the result that is read
            args, kwargs = resolved(job)
        if job.options is not None and (job.options.for_workers or job.attempts):
            from bsbpool.execution.optioned_call import call_optioned

            return call_optioned(job, self._context.owner, args, kwargs)
        return running_job.call(job.execute, self._context.owner, args, kwargs)

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
        if is_from_signal(error) or is_from_outer_job(error, self._loop.running_job):
            raise error  # it ends the run, not the job
        context = self._context
        if isinstance(error, exceptions.JobCancelledError):
            context.check_time()  # the job may have been interrupted since the time is over
        if job.function_call is not None or job.options is not None:
            from bsbpool.execution.signature_note import note_signature

            note_signature(error, context.owner)
        assert job.number is not None
        with context.lock:
            if job.status is JobStatus.RUNNING:
                if job.options is not None and self._retries(job, error):
                    return
                context.events.job_failed(job, error)
            context.engine.finish(job.number, FAILED)

    def _retries(self, job: Job[Any], error: BaseException) -> bool:
        from bsbpool.retries import retry_here

        again = retry_here(self._context.engine, job, error)
        if again and self._context.on_attempt is not None:
            self._context.on_attempt(job, error)
        return again

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
