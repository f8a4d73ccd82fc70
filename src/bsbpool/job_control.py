"""The operations of a pool on one of its jobs: start, finish, cancel, explain."""

from __future__ import annotations

from collections.abc import Callable

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.dependency_failures import DependencyFailures, condition_error
from bsbpool.owning_pool import JobControl
from bsbpool.process import is_from_signal
from bsbpool.status import FINISHED, JOB_STATUSES, JobStatus

if TYPE_CHECKING:
    from bsbpool.jobs import Job
    from bsbpool.metadata import JobMetadata
    from bsbpool.run_context import RunContext


class PoolJobControl(JobControl):
    """Implements `JobControl` for the pool of a run context."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._engine = context.engine
        self._dependency_failures = DependencyFailures(context.engine)
        self.pool_id = context.pool_id
        self.status_of = context.engine.status

    def start(self, job: Job[Any]) -> None:
        """Set a job to RUNNING."""
        try:
            self._engine.start_job(_number_of(job))
        except RuntimeError as error:
            raise exceptions.JobPoolError(
                f"{job.label} cannot be started by this process: {self._why_not_started(job)}"
            ) from error

    def _why_not_started(self, job: Job[Any]) -> str:
        if job.status is JobStatus.PENDING:
            return "not all of its dependencies have succeeded"
        if self._engine.is_sent(_number_of(job)):
            return "it was sent to another rank"
        return "it is running" if job.status is JobStatus.RUNNING else "it has ended"

    def run(self, job: Job[Any]) -> None:
        """Run a job in this process."""
        if self._context.run.parallel:
            raise exceptions.JobPoolError(f"{job.label} runs on another rank; call pool.execute()")
        self.start(job)
        self._context.run.perform(job)
        self._context.events.call_callbacks()

    def finish(self, job: Job[Any], status: JobStatus, outcome: Any) -> None:
        """End a job with a result, or with an error if `status` is FAILED."""
        number = _number_of(job)
        if job.status is not JobStatus.RUNNING or self._engine.is_sent(number):
            self.start(job)  # raises for a job that a worker runs, or that has ended
        if status is JobStatus.SUCCESS:
            try:
                job.set_outcome(self._context.kept(outcome))
            except BaseException as error:
                if is_from_signal(error):
                    raise
                status, outcome = JobStatus.FAILED, error
        if status is JobStatus.FAILED:
            self._context.events.job_failed(job, outcome)
        self._engine.finish(number, JOB_STATUSES.index(status))
        self._report()

    def cancel(self, job: Job[Any], reason: str | None, running: bool) -> str:
        """Cancel a job; with `running`, raise an error in a running one.

        Returns "running" or "finished" if the job is that, so that it was not cancelled; else "".
        """
        number = _number_of(job)
        error = exceptions.JobCancelledError(*(() if reason is None else (reason,)))
        with self._context.lock:
            before: JobStatus = self._engine.cancel(number)
            if before not in FINISHED:
                job.record_error(error)
        if running and before is JobStatus.RUNNING:
            self._context.run.interrupt(number, str(error))
        self._report()
        if before in FINISHED:
            return "finished"
        return "running" if before is JobStatus.RUNNING and not running else ""

    def _report(self) -> None:
        self._context.events.call_callbacks()
        self._context.run.wake()

    def on_completion(self, job: Job[Any], callback: Callable[[Job[Any]], object]) -> None:
        """Call a function when a job has ended."""
        self._context.events.on_completion(job, callback)

    def result_unreadable(self, job: Job[Any], error: BaseException) -> None:
        """Turn SUCCESS into FAILED. Jobs that depend on this one may have run already."""
        with self._context.lock:
            if not self._context.closed and job.status is JobStatus.SUCCESS:
                self._context.events.job_failed(job, error)
                self._engine.revoke(_number_of(job))
                if self._context.journal is not None:
                    self._context.journal.result_unreadable(job, error)

    def metadata_of(self, job: Job[Any]) -> JobMetadata:
        """Return when and where a job ran."""
        from bsbpool.metadata import metadata_of

        context = self._context
        ranks = None if job.number is None else context.ranks_of_jobs.get(job.number)
        return metadata_of(job, context.times, context.run.hosts, ranks)

    def check_waiting(self, timeout: float | None) -> None:
        """Raise JobPoolError if a wait of this thread for a job could not end."""
        self._context.check_waiting(timeout)

    def error_of(self, job: Job[Any]) -> BaseException | None:
        """Return why a job without an error of its own did not run to its end."""
        number, status = _number_of(job), job.status
        reason = self._context.time_limit.reason
        if status is JobStatus.ABORTED:
            return exceptions.JobCancelledError(f"The run ended while the job was running{reason}.")
        if status is not JobStatus.CANCELLED:
            return None
        if self._engine.dependency_failed(number):
            if job.options is not None and (error := condition_error(job.options)):
                return error
            return self._dependency_failures.error(job.required_jobs)
        if self._engine.ended_by_run(number):
            return exceptions.JobCancelledError(
                f"The run ended before the job could finish{reason}."
            )
        return exceptions.JobCancelledError()

    def dependency_error(self, deps: Any) -> exceptions.JobCancelledError:
        """Return the error of a job that a failure of one of these dependencies cancelled."""
        return self._dependency_failures.error(deps)


def _number_of(job: Job[Any]) -> int:
    if job.number is None:
        raise exceptions.JobPoolError(f"{job.label} is not in its pool yet; call pool.put(job)")
    return job.number
