"""The errors of jobs that were cancelled because a dependency failed."""

from __future__ import annotations

from collections.abc import Iterable

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.status import FINISHED, UNSUCCESSFUL, JobStatus

if TYPE_CHECKING:
    from bsbpool._core.scheduling.engine import Engine
    from bsbpool.jobs import Job
    from bsbpool.options import JobOptions

MESSAGE = "Job killed for dependency failure"  # callers compare it
VERBS = {
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "was cancelled",
    JobStatus.ABORTED: "was aborted",
}
"""What happened to a dependency, for each unsuccessful status."""


class DependencyFailures:
    """Makes the errors of jobs that a failed dependency cancelled.

    The ``__cause__`` of each is the error of the job that failed first; a note names that job.

    Parameters
    ----------
    engine : Engine
        The scheduling tables of the pool.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Jobs with the same dependencies share one tuple, and usually follow each other.
        self._last: tuple[Iterable[Job[Any]] | None, Job[Any] | None] = None, None

    def error(self, deps: Iterable[Job[Any]] | None) -> exceptions.JobCancelledError:
        """Return the error of a job with these dependencies.

        Parameters
        ----------
        deps : iterable of Job or None
            The dependencies; None when they are not known any more.
        """
        origin = None
        while (failed := self._first_failed(deps)) is not None:
            origin = failed
            if not self._is_broken(failed) or failed.has_error:
                break
            deps = failed.required_jobs
        if origin is None:
            return exceptions.JobCancelledError(MESSAGE)
        cause = origin.error
        if self._is_broken(origin) and cause is not None:
            return cancelled_like(cause)
        return cancelled_by(cause, origin.label, origin.status)

    def _first_failed(self, deps: Iterable[Job[Any]] | None) -> Job[Any] | None:
        """Return the job that failed first, or None if no job has failed."""
        known, first = self._last
        if deps is not known:
            failed = [job for job in deps or () if job.status in UNSUCCESSFUL]
            # The end of the run ends jobs after the failures that cancelled their dependents.
            first = min(failed, key=self._age, default=None)
            self._last = deps, first
        return first

    def _age(self, job: Job[Any]) -> tuple[bool, int]:
        return self._is_cut_off(job), job.number or 0

    def _is_broken(self, job: Job[Any]) -> bool:
        return job.number is not None and self._engine.dependency_failed(job.number)

    def _is_cut_off(self, job: Job[Any]) -> bool:
        return job.number is not None and self._engine.ended_by_run(job.number)


def condition_error(options: JobOptions) -> exceptions.JobCancelledError | None:
    """Return the error of a job whose option `after_any` or `on_failure` cannot be met any more."""
    conditions = (
        (options.after_any, {JobStatus.SUCCESS}, "succeeded"),
        (options.on_failure, {JobStatus.FAILED, JobStatus.ABORTED}, "failed"),
    )
    for handles, wanted, verb in conditions:
        jobs: list[Any] = list(handles)
        ends = {job.status for job in jobs}
        if jobs and ends <= FINISHED and not ends & wanted:
            error = exceptions.JobCancelledError(MESSAGE)
            labels = ", ".join(job.label for job in jobs[:4]) + (", ..." if len(jobs) > 4 else "")
            error.add_note(f"It was to run after one of {labels} had {verb}, and none has.")
            return error
    return None


def cancelled_by(
    cause: BaseException | None, name: str, status: JobStatus = JobStatus.FAILED
) -> exceptions.JobCancelledError:
    """Return the error of a job that depends on the job `name`, which ended with `status`."""
    error = exceptions.JobCancelledError(MESSAGE)
    error.add_note(f"It depends on {name}, which {VERBS[status]}.")
    error.__cause__ = cause
    return error


def cancelled_like(other: BaseException) -> exceptions.JobCancelledError:
    """Return the error of a job that depends on a job which was cancelled with `other`."""
    error = exceptions.JobCancelledError(MESSAGE)
    for note in getattr(other, "__notes__", ()):
        error.add_note(note)
    error.__cause__ = other.__cause__
    return error
