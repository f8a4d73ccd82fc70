"""Counts the jobs of a pool by looking at their statuses from time to time."""

from __future__ import annotations

from typing import Any

from bsbpool.listeners.kinds import KindCounts, Kinds
from bsbpool.status import JobStatus

PENDING, QUEUED, RUNNING = JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING
SUCCESS, FAILED, CANCELLED = JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELLED


class PoolCounter:
    """Keeps the counts of kinds up to date with the jobs of a pool.

    A job costs this a microsecond when it is seen first, and a tenth of that each time while it has
    not ended: much less than the records of its events.

    Parameters
    ----------
    pool : JobPool
        The pool.
    kinds : Kinds
        The counts to update.
    """

    def __init__(self, pool: Any, kinds: Kinds) -> None:
        self._jobs = pool.run_context.jobs
        self._engine = pool.run_context.engine
        self._kinds = kinds
        self._by_number: list[KindCounts] = []
        self._unfinished: list[int] = []

    def update(self) -> None:
        """Look at new jobs, and at those that had not ended the last time."""
        self._add_new()
        for kind in self._kinds.all():
            kind.running = 0
        unfinished, by_number, status_of = [], self._by_number, self._engine.status
        for number in self._unfinished:
            status = status_of(number)
            if status is PENDING or status is QUEUED:
                unfinished.append(number)
            elif status is SUCCESS:
                by_number[number].succeeded += 1
            elif status is RUNNING:
                by_number[number].running += 1
                unfinished.append(number)
            elif status is FAILED:
                by_number[number].failed += 1
            elif status is CANCELLED:
                by_number[number].cancelled += 1
            else:
                by_number[number].aborted += 1
        self._unfinished = unfinished

    def count_again(self) -> None:
        """Look at all jobs: some may have failed since their results could not be read."""
        self._add_new()
        for kind in self._kinds.all():
            kind.succeeded = kind.failed = kind.cancelled = kind.aborted = 0
        self._unfinished = list(range(len(self._by_number)))
        self.update()

    def _add_new(self) -> None:
        known = len(self._by_number)
        n = min(len(self._jobs), len(self._engine))  # a job may be added at this moment
        previous, kind = None, None
        for job in self._jobs[known:n]:
            # Most jobs do the same as the one before.
            call = job.function_call
            simple = call is not None and job.options is None and job.submission_data is None
            if kind is None or not simple or call[0] is not previous:
                kind = self._kinds.of_job(job)
                previous = call[0] if simple else None
            kind.total += 1
            self._by_number.append(kind)
        self._unfinished.extend(range(known, len(self._by_number)))
