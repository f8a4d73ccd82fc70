"""Counting jobs as they go by, so that nobody has to look at all of them."""

from __future__ import annotations

from collections import Counter

from bsbpool.progress import PoolJobAddedProgress, PoolJobUpdateProgress, PoolProgress
from bsbpool.status import FINISHED, JobStatus


class JobTally:
    """Counts the jobs of one kind by their status."""

    def __init__(self) -> None:
        self.counts: Counter[JobStatus] = Counter()

    def add(self, status: JobStatus = JobStatus.PENDING) -> None:
        """Count a new job."""
        self.counts[status] += 1

    def update(self, old: JobStatus, new: JobStatus) -> None:
        """Count a job under its new status."""
        self.counts[old] -= 1
        self.counts[new] += 1

    @property
    def total(self) -> int:
        """How many jobs there are."""
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        """How many jobs have ended, well or not."""
        return sum(self.counts[status] for status in FINISHED)

    def __str__(self) -> str:
        parts = [f"{self.finished}/{self.total} jobs"]
        for status in (JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELLED):
            if self.counts[status]:
                parts.append(f"{self.counts[status]} {status.value}")
        return ", ".join(parts)


class PoolTally(JobTally):
    """Counts all jobs of a pool, and those of each name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, JobTally] = {}

    def __call__(self, progress: PoolProgress) -> None:
        """Count what a record says."""
        if isinstance(progress, PoolJobAddedProgress):
            for tally in (self, self._of(progress.job.name)):
                tally.add()
        elif isinstance(progress, PoolJobUpdateProgress):
            for tally in (self, self._of(progress.job.name)):
                tally.update(progress.old_status, progress.status)

    def _of(self, name: str) -> JobTally:
        return self.by_name.setdefault(name, JobTally())
