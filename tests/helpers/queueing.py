"""Threads that queue thousands of jobs, and checks of all their results."""

from __future__ import annotations

from functools import partial
from typing import Any

from bsbpool import Job, JobPool, JobStatus

CHUNK = 250
"""Jobs per call of a scheduler."""
EVERY = 10
"""Every tenth job waits for others."""


def ran(owner: list[int], thread: int, number: int) -> tuple[int, int]:
    """Count a run on this rank; return the job's thread and number."""
    owner[0] += 1
    return thread, number


class Queueing:
    """Scheduler threads of a pool, each of which queues jobs.

    The pool's owner is a list of one number, the jobs that have run on the rank.

    Parameters
    ----------
    pool : JobPool
        The pool.
    threads, jobs : int
        Number of threads, and of jobs that each queues, a multiple of `CHUNK`.
    """

    def __init__(self, pool: JobPool, threads: int, jobs: int) -> None:
        self.pool = pool
        self.n_jobs = jobs
        self.jobs: list[list[Job]] = [[] for _ in range(threads)]
        self.deps: dict[Job, list[Job]] = {}

    def start(self) -> None:
        """Start all threads."""
        for thread in range(len(self.jobs)):
            self.pool.schedule(range(0, self.n_jobs, CHUNK), partial(self._queue, thread))

    def _queue(self, thread: int, first: int) -> None:
        mine = self.jobs[thread]
        others = self.jobs[(thread + 1) % len(self.jobs)]
        for number in range(first, first + CHUNK):
            deps = [*mine[-3:], *others[-2:]] if number % EVERY == EVERY - 1 else None
            job = self.pool.queue(ran, (thread, number), deps=deps)
            if deps:
                self.deps[job] = deps
            mine.append(job)

    def check_all_ran(self, results: dict[Job, Any] | None, runs: int) -> None:
        """Check that each job ran once, succeeded, and has its own result."""
        assert [len(jobs) for jobs in self.jobs] == [self.n_jobs] * len(self.jobs)
        assert runs == len(self.pool.jobs) == len(self.jobs) * self.n_jobs
        assert results is not None and len(results) == runs
        for thread, jobs in enumerate(self.jobs):
            assert [results[job] for job in jobs] == [(thread, n) for n in range(self.n_jobs)]

    def check_some_cancelled(self, cancelled: set[Job], runs: int) -> None:
        """Check that only the cancelled jobs, and those that waited for them, did not succeed."""
        succeeded = 0
        for thread, jobs in enumerate(self.jobs):
            assert len(jobs) == self.n_jobs
            for number, job in enumerate(jobs):
                broken = any(dep.status is not JobStatus.SUCCESS for dep in self.deps.get(job, ()))
                if job.status is JobStatus.SUCCESS:
                    assert job.result == (thread, number)
                    assert not broken
                    succeeded += 1
                else:
                    assert job.status is JobStatus.CANCELLED
                    assert broken or job in cancelled
        # A job that was cancelled while it ran has been counted, too.
        assert succeeded <= runs <= succeeded + len(cancelled)
