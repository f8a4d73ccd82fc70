"""Threads that queue jobs by the thousand, and the books of what became of each."""

from __future__ import annotations

from functools import partial
from typing import Any

from bsbpool import Job, JobPool, JobStatus

CHUNK = 250
"""Jobs that a node queues."""
EVERY = 10
"""One job of so many waits for others."""


def ran(owner: list[int], thread: int, number: int) -> tuple[int, int]:
    """Count the run on this rank; return whose job it was."""
    owner[0] += 1
    return thread, number


class Queueing:
    """Scheduler threads of a pool, each with jobs of its own.

    The pool's owner is a list of one number on each rank: how many jobs it ran.

    Parameters
    ----------
    pool : JobPool
        The pool.
    threads, jobs : int
        How many threads, and how many jobs each queues; a multiple of `CHUNK`.
    """

    def __init__(self, pool: JobPool, threads: int, jobs: int) -> None:
        self.pool = pool
        self.n_jobs = jobs
        self.jobs: list[list[Job]] = [[] for _ in range(threads)]
        self.deps: dict[Job, list[Job]] = {}

    def start(self) -> None:
        """Let all threads begin."""
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
        """Each job has ended well with its own result, in as many runs as there are jobs."""
        assert [len(jobs) for jobs in self.jobs] == [self.n_jobs] * len(self.jobs)
        assert runs == len(self.pool.jobs) == len(self.jobs) * self.n_jobs
        assert results is not None and len(results) == runs
        for thread, jobs in enumerate(self.jobs):
            assert [results[job] for job in jobs] == [(thread, n) for n in range(self.n_jobs)]

    def check_some_cancelled(self, cancelled: set[Job], runs: int) -> None:
        """Nobody was cancelled but those who were asked to, and those who waited for them."""
        well = 0
        for thread, jobs in enumerate(self.jobs):
            assert len(jobs) == self.n_jobs
            for number, job in enumerate(jobs):
                broken = any(dep.status is not JobStatus.SUCCESS for dep in self.deps.get(job, ()))
                if job.status is JobStatus.SUCCESS:
                    assert job.result == (thread, number)
                    assert not broken
                    well += 1
                else:
                    assert job.status is JobStatus.CANCELLED
                    assert broken or job in cancelled
        # One that was cancelled while it ran has run all the same.
        assert well <= runs <= well + len(cancelled)
