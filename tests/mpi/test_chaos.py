"""Random mixtures from a seed: graphs, schedulers, failures, cancellations and arrays."""

from __future__ import annotations

import random
import time
import warnings
from typing import Any

import numpy as np
import pytest

from bsbpool import JobPool, JobStatus, WorkflowError, create_job_pool
from bsbpool.status import FINISHED

from .support import MAIN, pool_works

pytestmark = pytest.mark.mpi(min_size=2)

SIZES = (0, 1, 100, 5_000, 40_000, 300_000)


def do(owner: Any, number: int, seconds: float, array: np.ndarray, fails: bool) -> Any:
    """Check the argument; sleep; fail or return a larger array."""
    assert (array == number % 251).all()
    time.sleep(seconds)
    if fails:
        raise ValueError(number)
    return number, np.full(len(array) // 2, number % 251, dtype=np.uint8)


class Chaos:
    """Queues, cancels and checks the jobs of one pool."""

    def __init__(self, pool: JobPool, seed: int) -> None:
        self.rng = random.Random(seed)
        self.pool = pool
        self.jobs: list[Any] = []
        self.deps: dict[Any, list[Any]] = {}
        self.numbers: dict[Any, int] = {}
        self.failing = self.rng.choice([0.0, 0.0, 0.02])
        self.cancelling = self.rng.choice([0.0, 0.01, 0.1])
        self.slow = self.rng.choice([0.0, 0.0005, 0.003])
        self.sizes = SIZES[: self.rng.randint(1, len(SIZES))]

    def queue(self, many: int) -> None:
        """Queue jobs that depend on some of the existing ones."""
        for _ in range(many):
            rng, number = self.rng, len(self.jobs)
            deps = rng.sample(self.jobs, min(rng.choice([0, 0, 1, 3, 10]), number))
            array = np.full(rng.choice(self.sizes), number % 251, dtype=np.uint8)
            fails = rng.random() < self.failing
            job = self.pool.submit(
                do, number, rng.random() * self.slow, array, fails, deps=deps or None
            )
            self.deps[job], self.numbers[job] = deps, number
            self.jobs.append(job)

    def listen(self, progress: Any) -> None:
        """Cancel a random job from time to time."""
        if self.rng.random() < self.cancelling:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.rng.choice(self.jobs).cancel("by chance")

    def check(self, error: WorkflowError | None) -> None:
        """Check that the outcomes of the jobs are possible."""
        ends = {job: job.status for job in self.jobs}
        assert set(ends.values()) <= FINISHED
        failed = {job for job in ends if ends[job] is JobStatus.FAILED}
        reported = {id(one.error) for one in error.exceptions} if error else set()
        assert reported == {id(job.error) for job in failed}
        for job, end in ends.items():
            if end is JobStatus.SUCCESS:
                number, array = job.result
                assert number == self.numbers[job]
                assert (array == number % 251).all()
                assert {ends[dep] for dep in self.deps[job]} <= {JobStatus.SUCCESS}
            elif any(ends[dep] is not JobStatus.SUCCESS for dep in self.deps[job]):
                assert end is JobStatus.CANCELLED
            elif end is JobStatus.CANCELLED and error is None:
                assert str(job.error) == "by chance"


@pytest.mark.parametrize("seed", range(24))
def test_every_run_ends_and_all_jobs_have_an_outcome(seed: int) -> None:
    rng = random.Random(seed)
    with create_job_pool(quiet=True, fail_fast=rng.random() < 0.2) as pool:
        chaos = Chaos(pool, seed)
        if MAIN:
            chaos.queue(rng.choice([1, 50, 300]))
            if rng.random() < 0.7:
                # One thread, since the order of several would not follow from the seed.
                pool.schedule(range(10), lambda n: chaos.queue(20))
            pool.add_listener(chaos.listen)
        error = None
        try:
            pool.execute()
        except WorkflowError as raised:
            error = raised
        if MAIN:
            chaos.check(error)
    pool_works()
