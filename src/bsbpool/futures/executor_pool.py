"""The pools of an executor: they stay open for further calls, and drop jobs that have ended."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable
from typing import Any, ClassVar

from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool.function_job import FunctionJob
from bsbpool.futures.errors import dependency_error
from bsbpool.futures.future import PoolFuture
from bsbpool.naming import shortened, text_of
from bsbpool.pool import JobPool
from bsbpool.run_context import Run, RunContext
from bsbpool.status import JOB_STATUSES, JobStatus
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

    @property
    def _submit_ctx(self) -> SubmissionContext:
        future = self._context
        options = dict(future.call_options or {}) if isinstance(future, PoolFuture) else {}
        return SubmissionContext(options.pop("submitter", self._function), **options)

    def _call_text(self) -> str:
        name = self.context.get("name")
        return super()._call_text() if name is None else shortened(text_of(name))

    @property
    def number(self) -> int:
        """The number of the job in its pool."""
        assert self._id is not None
        return self._id

    def withdraw(self) -> bool:
        """Cancel the job unless it has started; return whether it was cancelled."""
        pool: ExecutorPool = self._pool
        return pool.cancel_waiting(self)


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
    ) -> None:
        self._make_executor_run = make_run
        self._on_failure = on_failure
        self.kept_open = on_failure is not None
        super().__init__(next(_ids), NO_OWNER, comm=service)
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

    def queue_after(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        deps: tuple[PoolFuture[Any], ...],
        cache_items: Any,
    ) -> BaseException | None:
        """Queue a call that has dependencies or cache items; return why it cannot run."""
        jobs = []
        for dep in deps:
            job = dep.pool_job  # read once: another thread sets it to None when the call ends
            if job is not None and job.belongs_to(self):
                jobs.append(job)
            elif (error := dependency_error(dep)) is not None:
                return error
        self.queue_call(future, f, args, kwargs, jobs or None, self._set_of(cache_items))
        return None

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
        outcome, succeeded = self._release_job(job)
        if succeeded:
            if not future.settle_unobserved(None, outcome):
                future.settle(None, outcome)
        else:
            assert self._on_failure is not None
            self._on_failure(future, self._end_of(job), self._take_error(job, outcome))
        future.pool_job = None

    def _end_of(self, job: FutureJob) -> CallEnd:
        number = job.number
        if self._engine.ended_by_run(number):
            aborted = job.status is JobStatus.ABORTED
            return CallEnd.RUN_ENDED_IN_CALL if aborted else CallEnd.RUN_ENDED
        if job.status is not JobStatus.CANCELLED or self._engine.dependency_failed(number):
            return CallEnd.FAILED
        return CallEnd.CANCELLED

    def _take_error(self, job: FutureJob, deps: Any) -> BaseException:
        """Return the error of a job, and forget its failure; `deps` are its dependencies."""
        if self._engine.dependency_failed(job.number):
            job.record_error(self.job_control.dependency_error(deps))
        error = job.error
        self.run_context.events.failures.pop(job, None)
        assert error is not None
        return error
