"""The pools of an executor: they stay open for further calls, and drop jobs that have ended."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool.dependency_failures import condition_error
from bsbpool.exceptions import JobPoolError
from bsbpool.function_job import FunctionJob
from bsbpool.futures.calls import Call
from bsbpool.futures.conditions import conditions_of
from bsbpool.futures.errors import dependency_error
from bsbpool.futures.future import PoolFuture
from bsbpool.naming import name_of, shortened, text_of
from bsbpool.options import JobOptions
from bsbpool.pool import JobPool
from bsbpool.run_context import RunContext
from bsbpool.runs import Run
from bsbpool.settings import PoolSettings
from bsbpool.status import FINISHED, JOB_STATUSES, JobStatus
from bsbpool.submission_context import SubmissionContext

_ids = itertools.count(1 << 40)
"""Ids of executor pools, far from those that users give to their pools."""


class CallEnd(enum.Enum):
    """How a call ended that did not succeed."""

    FAILED = enum.auto()
    CANCELLED = enum.auto()
    RUN_ENDED = enum.auto()
    """The run of the pool ended before the call had started."""
    RUN_ENDED_IN_CALL = enum.auto()
    """The run of the pool ended while the call was running."""


FailureCallback = Callable[[PoolFuture[Any], CallEnd, BaseException], None]


class FutureJob(FunctionJob[Any]):
    """The job of a call; its future takes the place of the submission context."""

    __slots__ = ()

    stream = 0

    @property
    def random_stream(self) -> int:
        """The number of the stream of random numbers; see `Call.stream`."""
        return self.stream

    @property
    def _submit_ctx(self) -> SubmissionContext:
        future = self._context
        options = dict(future.call_options or {}) if isinstance(future, PoolFuture) else {}
        return SubmissionContext(options.pop("submitter", self._function), **options)

    def _call_text(self) -> str:
        name = self.context.get("name")
        return super()._call_text() if name is None else shortened(text_of(name))

    def assign(self, future: PoolFuture[Any], stream: int) -> None:
        """Set the future of the call, and the number of its stream of random numbers."""
        self._context, self.stream = future, stream

    @property
    def name(self) -> str:
        """The name of the call: its option, or that of its function."""
        given = None if self.options is None else self.options.name
        if given is None:
            given = self.context.get("name")
        if given is not None:
            return text_of(given)
        return "call" if self._function is None else name_of(self._function)

    @property
    def number(self) -> int:
        """The number of the job in its pool."""
        assert self._id is not None
        return self._id

    def withdraw(self) -> bool:
        """Cancel the job unless it has started; return whether it was cancelled."""
        pool: ExecutorPool = self._pool
        return pool.cancel_waiting(self)


def make_job(pool: Any, call: Call, deps: Iterable[FutureJob] | None) -> FutureJob:
    """Make the job of a call with options."""
    job = FutureJob(pool, call.f, call.args, call.kwargs, deps, call.cache_items)
    job.assign(call.future, call.stream)
    return job


class ExecutorPool(JobPool):
    """A pool of an executor, on the main rank or on a worker.

    The functions of its jobs get no owner. Its run goes on while it is kept open. When the run has
    ended normally, the executor opens another pool, so that the tables of one pool do not grow
    without bound; a pool whose run was aborted is the last one.

    Parameters
    ----------
    service : MPIService
        The ranks that take part.
    make_run : callable
        Makes the run of the pool on this rank; called with its context and the channel.
    on_failure : callable, optional
        Called with each call that did not succeed, on the main rank: its future, how it ended, and
        its error.
    first_number : int
        The number of the first job, counted over all pools of the executor.
    settings : PoolSettings, optional
        Further settings.

    Attributes
    ----------
    kept_open : bool
        Whether more calls may come.
    """

    _job_type: ClassVar[type[FunctionJob[Any]]] = FutureJob

    def __init__(
        self,
        service: Any,
        make_run: Callable[[RunContext, Channel], Run],
        on_failure: FailureCallback | None = None,
        first_number: int = 0,
        settings: PoolSettings | None = None,
    ) -> None:
        self._first_number = first_number
        self._make_executor_run = make_run
        self._on_failure = on_failure
        self.kept_open = on_failure is not None
        super().__init__(next(_ids), NO_OWNER, comm=service, settings=settings)
        if on_failure is not None:
            self._on_job_end = self._deliver

    def _make_run(self) -> Run:
        from bsbpool.services.channels import channel_of

        return self._make_executor_run(self.run_context, channel_of(self._comm.get_communicator()))

    @property
    def scheduling(self) -> bool:
        """Whether more calls may come."""
        return self.kept_open

    # ------------------------------------------------------------ calls

    # An alias, because a method that calls it would cost time for each call.
    queue_call = JobPool.queue_for_future
    """Queue a call: ``queue_call(future, f, args, kwargs)``."""

    def queue_after(self, call: Call) -> BaseException | None:
        """Queue a call with dependencies, cache items or options; return why it cannot run."""
        jobs = []
        for dep in call.deps:
            if (job := self._job_of(dep)) is not None:
                jobs.append(job)
            elif (error := dependency_error(dep)) is not None:
                return error
        if call.special is not None:
            return self._queue_special(call, jobs)
        future, f, args, kwargs = call[:4]
        self.queue_call(future, f, args, kwargs, jobs, self._set_of(call.cache_items))
        return None

    def _job_of(self, future: PoolFuture[Any]) -> FutureJob | None:
        """Return the job of a future; None if it has ended or is that of another pool."""
        job = future.pool_job  # read once: another thread sets it to None when the call ends
        return job if job is not None and job.belongs_to(self) else None

    def _queue_special(self, call: Call, deps: list[FutureJob]) -> BaseException | None:
        assert call.special is not None
        follow = self._followed(call.special.futures.get("follow", ()))
        options = call.special.options
        if call.special.futures:
            found = conditions_of(call.special, self._job_of)
            if isinstance(found, BaseException):
                return found
            options = options.updated(found)
        try:
            if options.is_placement and not call.cache_items:
                spec = self.placement.spec_of(options, follow)
                self.queue_for_future(*call[:4], deps, -1, spec)
            else:
                self._queue_with_options(call, deps, options, follow)
        except (ValueError, JobPoolError) as error:  # no rank can run the call
            call.future.pool_job = None
            return error
        return None

    def _queue_with_options(
        self, call: Call, deps: list[FutureJob], options: JobOptions, follow: list[int]
    ) -> None:
        job = make_job(self, call, deps)
        job.options = options
        call.future.pool_job = job
        self._put_with_options(job, options, True, follow)

    def _followed(self, futures: Iterable[PoolFuture[Any]]) -> list[int]:
        """Return the numbers of jobs in this pool; those of earlier pools are not followed."""
        numbers = []
        for future in futures:
            job = self._job_of(future)
            number = future.job_number - self._first_number if job is None else job.number
            if number >= 0:
                numbers.append(number)
        return numbers

    def _with_inputs(self, job: Any, deps: Any) -> Any:
        return deps  # the backend has added the futures among the arguments

    def interrupt(self, job: FutureJob) -> bool:
        """Cancel a job, also while it is running; return whether it was cancelled."""
        before = self._engine.cancel(job.number)
        if before is JobStatus.RUNNING:
            self.run_context.run.interrupt(job.number, "")
        self.run_context.run.wake()
        return before not in FINISHED

    def cancel_waiting(self, job: FutureJob) -> bool:
        """Cancel a job unless it has started; return whether it was cancelled."""
        before = self._engine.cancel(job.number, running=False)
        self.run_context.run.wake()
        return before in (JobStatus.PENDING, JobStatus.QUEUED)

    def futures(self) -> list[PoolFuture[Any]]:
        """Return the futures of all calls that have not ended."""
        return [
            future for job in list(self._job_queue) if (future := job.submission_data) is not None
        ]

    @property
    def n_unfinished(self) -> int:
        """The number of calls that have not ended."""
        return self._engine.unfinished

    @property
    def n_running(self) -> int:
        """The number of calls that are running."""
        return self._engine.counts()[JOB_STATUSES.index(JobStatus.RUNNING)]

    # ------------------------------------------------------------ the ends of calls

    def _deliver(self, job: FutureJob) -> None:
        """Settle the future of a job that has ended, and drop the job; in the backend's thread."""
        future: PoolFuture[Any] = job.submission_data
        if job.options is not None or self.run_context.times is not None:
            future.ended_metadata = job.metadata
        if job.output is not None:
            future.ended_output = job.output
        future.job_number = self._first_number + job.number
        outcome, succeeded = self._release_job(job)
        if succeeded:
            if not future.settle_unobserved(None, outcome):
                future.settle(None, outcome)
        else:
            assert self._on_failure is not None
            self._on_failure(future, self._end_of(job), self._take_error(job, outcome))
        future.pool_job = None
        if job.options is not None and job.options.names_jobs:
            # Each job of a chain would keep the one before. Later messages quote only the name.
            name = job.options.name
            job.options = None if name is None else JobOptions(name=name)

    def _end_of(self, job: FutureJob) -> CallEnd:
        number = job.number
        if self._engine.ended_by_run(number):
            aborted = job.status is JobStatus.ABORTED
            return CallEnd.RUN_ENDED_IN_CALL if aborted else CallEnd.RUN_ENDED
        # A call that was cancelled with an error has waited too long for its dependencies.
        cancelled = job.status is JobStatus.CANCELLED and not job.has_error
        if not cancelled or self._engine.dependency_failed(number):
            return CallEnd.FAILED
        return CallEnd.CANCELLED

    def _take_error(self, job: FutureJob, deps: Any) -> BaseException:
        """Return the error of a job, and forget its failure; `deps` are its dependencies."""
        if self._engine.dependency_failed(job.number):
            unmet = None if job.options is None else condition_error(job.options)
            job.record_error(unmet or self.job_control.dependency_error(deps))
        error = job.error
        self.run_context.events.failures.pop(job, None)
        assert error is not None
        return error
