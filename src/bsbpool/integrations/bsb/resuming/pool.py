"""The pool of a phase of a compile with a journal."""

from __future__ import annotations

from typing import Any, TypeVar

from bsbpool.integrations.bsb.pool import BsbJobPool
from bsbpool.integrations.bsb.resuming.keys import PhaseKeys
from bsbpool.jobs import Job
from bsbpool.leaving import LeftInTime
from bsbpool.options import JobOptions
from bsbpool.status import JobStatus

AnyJob = TypeVar("AnyJob", bound=Job[Any])


class ResumablePool(BsbJobPool):
    """A pool of BSB that gives each job a key.

    Parameters
    ----------
    keys : PhaseKeys
        Makes the keys.
    *args, **settings
        As of `BsbJobPool`.

    Attributes
    ----------
    left_clean : bool
        Whether the run left in time, and no job was stopped while it ran.
    """

    def __init__(self, keys: PhaseKeys, *args: Any, **settings: Any) -> None:
        self._keys = keys
        self.left_clean = False
        super().__init__(*args, **settings)
        if self.run_context.journal is not None:
            self.run_context.journal.is_shared = True  # it has the jobs of other phases, too

    def put(self, job: AnyJob) -> AnyJob:
        """Queue a job."""
        options = JobOptions() if job.options is None else job.options
        if options.key is None and options.journaled:
            job.options = options.updated({"key": self._keys.of_job(job)})
        return super().put(job)

    def execute(self, return_results: bool = False, timeout: float | None = None) -> Any:
        """Run the jobs; see `JobPool.execute`."""
        try:
            return super().execute(return_results, timeout)
        except LeftInTime:
            counts = self.counts
            self.left_clean = not counts[JobStatus.FAILED] and not counts[JobStatus.ABORTED]
            raise
