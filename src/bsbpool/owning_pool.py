"""What jobs need of the pool that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bsbpool.status import JobStatus


class JobControl(Protocol):
    """The operations of a pool on one of its jobs.

    Attributes
    ----------
    pool_id : int
        The id of the pool, also after its ``with`` block.
    status_of : callable
        Returns the status of the job with a number.
    """

    pool_id: int
    status_of: Callable[[int], JobStatus]

    def start(self, job: Any) -> None:
        """Set a job to RUNNING."""

    def run(self, job: Any) -> None:
        """Run a job in this process."""

    def finish(self, job: Any, status: JobStatus, outcome: Any) -> None:
        """End a job with a result, or with an error if `status` is FAILED."""

    def cancel(self, job: Any, reason: str | None, running: bool) -> str:
        """Cancel a job; with `running`, raise an error in a running one.

        Returns "running" or "finished" if the job is that, so that it was not cancelled; else "".
        """

    def on_completion(self, job: Any, callback: Callable[[Any], object]) -> None:
        """Call a function when a job has ended."""

    def result_unreadable(self, job: Any, error: BaseException) -> None:
        """Turn SUCCESS into FAILED."""

    def metadata_of(self, job: Any) -> Any:
        """Return when and where a job ran."""

    def check_waiting(self, timeout: float | None) -> None:
        """Raise JobPoolError if a wait of this thread for a job could not end."""

    def error_of(self, job: Any) -> BaseException | None:
        """Return why a job without an error of its own did not run to its end."""


class OwningPool(Protocol):
    """The part of a pool that its jobs need."""

    @property
    def job_control(self) -> JobControl:
        """The operations of the pool on its jobs."""

    @property
    def id(self) -> int | None:
        """The id of the pool; None after its ``with`` block."""

    def is_main(self) -> bool:
        """Whether this rank schedules the jobs of the pool."""
