"""Counts of jobs by status, updated from progress records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bsbpool.progress import PoolJobAddedProgress, PoolJobUpdateProgress, PoolProgress
from bsbpool.status import FINISHED, UNSUCCESSFUL, JobStatus


def describe(counts: Mapping[JobStatus, int]) -> str:
    """Describe counts of jobs: succeeded, running, and ended without success."""
    parts = [f"{counts[JobStatus.SUCCESS]}/{sum(counts.values())} jobs succeeded"]
    if counts[JobStatus.RUNNING]:
        parts.append(f"{counts[JobStatus.RUNNING]} running")
    return ", ".join(filter(None, [*parts, describe_unsuccessful(counts)]))


def describe_unsuccessful(counts: Mapping[JobStatus, int]) -> str:
    """Describe the counts of jobs that ended without success; empty if there are none."""
    return ", ".join(f"{counts[end]} {end.value}" for end in UNSUCCESSFUL if counts[end])


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
        """The number of jobs."""
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        """The number of jobs that have ended, with or without success."""
        return sum(self.counts[status] for status in FINISHED)

    @property
    def succeeded(self) -> int:
        """The number of jobs that have succeeded."""
        return self.counts[JobStatus.SUCCESS]

    def __str__(self) -> str:
        return describe(self.counts)


class PoolTally(JobTally):
    """Counts all jobs of a pool, and those of each name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: dict[str, JobTally] = {}

    def __call__(self, progress: PoolProgress) -> None:
        """Update the counts from a record."""
        if isinstance(progress, PoolJobAddedProgress):
            for tally in (self, self._of(progress.job.name)):
                tally.add()
        elif isinstance(progress, PoolJobUpdateProgress):
            for tally in (self, self._of(progress.job.name)):
                tally.update(progress.old_status, progress.status)

    def _of(self, name: str) -> JobTally:
        return self.by_name.setdefault(name, JobTally())
