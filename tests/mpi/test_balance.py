"""Jobs that were sent ahead do not wait behind a long job, and each runs exactly once."""

from __future__ import annotations

import ctypes
import os
import random
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bsbpool import JobPool, JobStatus, create_job_pool

from .support import MAIN, WORKERS, WORLD, pool_works

pytestmark = pytest.mark.mpi(min_size=3)

LONG = 1.5
SOON = 0.5
"""Seconds within which all quick jobs must end while a long one still runs."""


def nap(
    owner: Any, number: int, seconds: float, record_file: str | None = None, gil: bool = False
) -> int:
    """Sleep, possibly with the GIL held, append the job's number to a file, and return it."""
    if gil:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    elif seconds:
        time.sleep(seconds)
    if record_file is not None:
        note(record_file, number)
    return number


def nap_in_array(
    owner: Any, number: int, seconds: float, record_file: str | None, array: Any
) -> Any:
    """Do the same with an argument and a result that are sent out of band."""
    return nap(owner, number, seconds, record_file) + array


def note(record_file: str, number: int) -> None:
    """Append a number in one write to a file that all ranks write."""
    fd = os.open(record_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % number)
    os.close(fd)


def runs(record_file: str) -> Counter[int]:
    """Return how often each job ran."""
    path = Path(record_file)
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


@pytest.fixture
def record_file(tmp_path: Path) -> str:
    """Return the name of a file, the same on all ranks."""
    return str(WORLD.bcast(tmp_path / "record_file"))


class Clock:
    """Records on main when jobs end."""

    def __init__(self) -> None:
        self.times: dict[Any, float] = {}

    def watch(self, *jobs: Any) -> None:
        for job in jobs:
            job.on_completion(lambda job: self.times.setdefault(job, time.monotonic()))

    def seconds(self, begin: Any, jobs: Any) -> float:
        """Return how long after `begin` the last of the jobs ended."""
        return max(self.times[job] for job in jobs) - self.times[begin]


def learned(pool: JobPool, record_file: str | None) -> list[Any]:
    """Queue enough quick jobs that the pool sends the next ones ahead."""
    return [pool.queue(nap, (n, 0, record_file)) for n in range(2_000)]


# ------------------------------------------------------------------ waiting for a long job


@pytest.mark.parametrize("gil", [False, True], ids=["asleep", "with the GIL"])
def test_quick_jobs_do_not_wait_behind_a_long_one(gil: bool, record_file: str) -> None:
    clock = Clock()
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            early = learned(pool, record_file)
            gate = pool.queue(nap, (2_000, 0, record_file), deps=early)
            numbers = range(2_001, 2_301)
            long = numbers[5]
            jobs = {
                n: pool.queue(
                    nap, (n, LONG if n == long else 0, record_file, gil and n == long), deps=[gate]
                )
                for n in numbers
            }
            clock.watch(gate, *jobs.values())
        results = pool.execute(return_results=True)
        if MAIN:
            quick = [job for n, job in jobs.items() if n != long]
            assert clock.seconds(gate, quick) < SOON
            assert clock.seconds(gate, [jobs[long]]) > 2 * SOON
            assert list(results.values()) == list(range(2_301))
            assert runs(record_file) == Counter(range(2_301))


def test_replies_do_not_wait_behind_a_long_job(record_file: str) -> None:
    """Jobs before the long one on its worker have ended, and their dependents run."""
    clock = Clock()
    last = 5_000 + len(WORKERS) - 1  # one worker remains idle
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            early = learned(pool, record_file)
            gate = pool.queue(nap, (2_000, 0, record_file), deps=early)
            firsts, seconds = [], []
            for n in range(3_000, 3_100):
                firsts.append(pool.queue(nap, (n, 0, record_file), deps=[gate]))
                seconds.append(pool.queue(nap, (n + 1_000, 0, record_file), deps=[firsts[-1]]))
            longs = [
                pool.queue(nap, (n, LONG, record_file), deps=[gate]) for n in range(5_000, last)
            ]
            clock.watch(gate, *firsts, *seconds, *longs)
        pool.execute()
        if MAIN:
            assert clock.seconds(gate, firsts + seconds) < SOON
            assert clock.seconds(gate, longs) > 2 * SOON
            assert set(runs(record_file).values()) == {1}
            assert len(runs(record_file)) == len(pool.jobs)


def test_jobs_with_arrays_do_not_wait_behind_a_long_one(record_file: str) -> None:
    import numpy as np

    clock = Clock()
    array = np.arange(20_000)
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            gate = pool.queue(nap, (0, 0, record_file))
            jobs = {
                n: pool.queue(
                    nap_in_array, (n, LONG if n == 100 else 0, record_file, array), deps=[gate]
                )
                for n in range(1, 120)
            }
            clock.watch(gate, *jobs.values())
        results = pool.execute(return_results=True)
        if MAIN:
            quick = [job for n, job in jobs.items() if n != 100]
            assert clock.seconds(gate, quick) < SOON
            assert clock.seconds(gate, [jobs[100]]) > 2 * SOON
            for n, job in jobs.items():
                assert np.array_equal(results[job], array + n)
            assert runs(record_file) == Counter(range(120))


def test_workers_share_jobs_that_were_sent_to_one_of_them() -> None:
    """Jobs that take longer than the previous ones do not accumulate on one worker."""
    clock = Clock()
    n = 8 * len(WORKERS)
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            gate = pool.queue(nap, (0, 0), deps=learned(pool, None))
            jobs = [pool.queue(nap, (n, 0.05), deps=[gate]) for n in range(n)]
            clock.watch(gate, *jobs)
        pool.execute()
        if MAIN:  # alone, one worker would need 0.4 s for each
            assert clock.seconds(gate, jobs) < 8 * 0.05 * 2


# ------------------------------------------------------------------ cancelling


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.02])
def test_jobs_are_cancelled_while_they_are_stolen(delay: float, record_file: str) -> None:
    """Cancelled jobs did not run, unless they ran at that time; all others ran once."""
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            early = learned(pool, record_file)
            gate = pool.queue(nap, (2_000, 0, record_file), deps=early)
            jobs = [
                pool.queue(nap, (n, 0.1 if n % 50 == 1 else 0.0002, record_file), deps=[gate])
                for n in range(2_001, 2_201)
            ]
            to_cancel = jobs[::3]
            cancelled = []

            def cancel(nodes: Any) -> None:
                while gate.status is not JobStatus.SUCCESS:
                    time.sleep(0.0005)
                time.sleep(delay)
                for job in to_cancel:
                    if job.status in (JobStatus.PENDING, JobStatus.QUEUED):
                        job.cancel("by the test")
                        cancelled.append(job)

            pool.schedule([None], cancel)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of them have just begun
            results = pool.execute(return_results=True)
        if MAIN:
            ran = runs(record_file)
            assert set(ran.values()) == {1}
            for n, job in enumerate(jobs, 2_001):
                if job.status is JobStatus.SUCCESS:
                    assert results[job] == n
                    assert ran[n] == 1
                else:
                    assert job in cancelled
                    assert job.status is JobStatus.CANCELLED
            assert all(job.status is JobStatus.SUCCESS for job in early)
            assert len(results) + sum(j.status is JobStatus.CANCELLED for j in jobs) == 2_201
    pool_works()


# ------------------------------------------------------------------ any mix


def draw_seconds(rng: random.Random, slow: float) -> float:
    """Return the run time of a job: mostly none, sometimes short, rarely long."""
    kind = rng.random()
    return 0.05 if kind < slow else rng.uniform(0, 0.003) if kind < 0.2 else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_any_mix_of_run_times_runs_once_and_in_order(seed: int, record_file: str) -> None:
    rng = random.Random(seed)
    n = rng.choice([100, 300, 600])
    slow = rng.choice([0.0, 0.005, 0.02])
    deps: list[list[int]] = []
    for number in range(n):
        few = min(number, rng.choice([0, 0, 0, 1, 2, 6]))
        deps.append(rng.sample(range(max(0, number - 100), number), few))
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            jobs: list[Any] = []
            for number in range(n):
                seconds = draw_seconds(rng, slow)
                waits_for = [jobs[dep] for dep in deps[number]]
                jobs.append(pool.queue(nap, (number, seconds, record_file), deps=waits_for))
            ends: list[int] = []
            for job in jobs:
                job.on_completion(lambda job: ends.append(job._id))
        results = pool.execute(return_results=True)
        if MAIN:
            assert list(results.values()) == list(range(n))
            assert sorted(ends) == list(range(n))
            order = [int(line) for line in Path(record_file).read_text().split()]
            assert sorted(order) == list(range(n))
            place = {number: at for at, number in enumerate(order)}
            for number in range(n):
                assert all(place[dep] < place[number] for dep in deps[number])


def test_without_prefetch_workers_take_turns() -> None:
    with create_job_pool(quiet=True, prefetch=False, timestamps=True) as pool:
        jobs = []
        if MAIN:
            for _ in range(4 * (WORLD.size - 1)):
                jobs.append(pool.submit(abs_of, -1, deps=jobs[-1:]))
        pool.execute()
        ranks = [job.metadata.rank for job in jobs]
        turn = WORLD.size - 1
        assert all(len(set(ranks[n : n + turn])) == turn for n in range(0, len(ranks), turn))


def abs_of(owner, x: int) -> int:
    return abs(x)
