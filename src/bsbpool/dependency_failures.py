"""Why jobs that depend on a failed one were cancelled: which job failed first, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bsbpool import exceptions
from bsbpool.status import FINISHED, JobStatus

if TYPE_CHECKING:
    from bsbpool.job import Job

MESSAGE = "Job killed for dependency failure"  # bsb's words, which its tests compare
_VERBS = {
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "was cancelled",
    JobStatus.ABORTED: "was aborted",
}


class DependencyFailures:
    """Makes the errors of jobs that a failed dependency cancelled.

    Each has the error of the job that failed first as its ``__cause__``, and a note that names
    that job.
    """

    def __init__(self) -> None:
        # Jobs that share dependencies share one tuple, and usually follow each other.
        self._last: tuple[Iterable[Job] | None, Job | None] = None, None

    def error(self, deps: Iterable[Job] | None) -> exceptions.JobCancelledError:
        """Return the error of a job with these dependencies.

        Parameters
        ----------
        deps : iterable of Job or None
            The dependencies; None when they are not known any more.
        """
        origin = None
        while (failed := self._first_failed(deps)) is not None:
            origin = failed
            if not _is_broken(failed) or failed._error is not None:
                break
            deps = failed._deps
        if origin is None:
            return exceptions.JobCancelledError(MESSAGE)
        cause = origin.error
        if _is_broken(origin) and cause is not None:
            return cancelled_like(cause)
        return cancelled_by(cause, origin.label, origin.status)

    def _first_failed(self, deps: Iterable[Job] | None) -> Job | None:
        """Return the oldest of some jobs that has ended without success."""
        known, oldest = self._last
        if deps is not known:
            failed = [job for job in deps or () if _has_failed(job)]
            # Jobs that ended with the run did so after the failures that cancelled others.
            oldest = min(failed, key=lambda job: (_is_cut_off(job), job._id or 0), default=None)
            self._last = deps, oldest
        return oldest


def cancelled_by(
    cause: BaseException | None, name: str, status: JobStatus = JobStatus.FAILED
) -> exceptions.JobCancelledError:
    """Return the error of a job that depends on the job `name`, which ended with `status`."""
    error = exceptions.JobCancelledError(MESSAGE)
    error.add_note(f"It depends on {name}, which {_VERBS[status]}.")
    error.__cause__ = cause
    return error


def cancelled_like(other: BaseException) -> exceptions.JobCancelledError:
    """Return the error of a job that depends on one which was cancelled with this error."""
    error = exceptions.JobCancelledError(MESSAGE)
    for note in getattr(other, "__notes__", ()):
        error.add_note(note)
    error.__cause__ = other.__cause__
    return error


def _has_failed(job: Job) -> bool:
    status = job.status
    return status in FINISHED and status is not JobStatus.SUCCESS


def _is_broken(job: Job) -> bool:
    return job._id is not None and job._pool._engine.is_broken(job._id)


def _is_cut_off(job: Job) -> bool:
    return job._id is not None and job._pool._engine.is_cut_off(job._id)
