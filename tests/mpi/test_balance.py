"""Jobs that were sent ahead do not wait behind a long one, and each runs exactly once."""

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
"""Within this all quick jobs end, while a long one still runs."""


def nap(owner: Any, number: int, seconds: float, book: str | None = None, gil: bool = False) -> int:
    """Sleep, perhaps with the GIL, write one's number into a book, and return it."""
    if gil:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    elif seconds:
        time.sleep(seconds)
    if book is not None:
        note(book, number)
    return number


def nap_in_array(owner: Any, number: int, seconds: float, book: str | None, array: Any) -> Any:
    """Do that with an argument and a result that travel beside the messages."""
    return nap(owner, number, seconds, book) + array


def note(book: str, number: int) -> None:
    """Append a number to a file that all ranks write, in one piece."""
    fd = os.open(book, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % number)
    os.close(fd)


def runs(book: str) -> Counter[int]:
    """Return how often each job ran."""
    path = Path(book)
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


@pytest.fixture
def book(tmp_path: Path) -> str:
    """Return the name of a file that all ranks agree on."""
    return str(WORLD.bcast(tmp_path / "book"))


class Clock:
    """Notes on main when jobs end."""

    def __init__(self) -> None:
        self.times: dict[Any, float] = {}

    def watch(self, *jobs: Any) -> None:
        for job in jobs:
            job.on_completion(lambda job: self.times.setdefault(job, time.monotonic()))

    def seconds(self, begin: Any, jobs: Any) -> float:
        """Return how long after `begin` the last of the jobs ended."""
        return max(self.times[job] for job in jobs) - self.times[begin]


def learned(pool: JobPool, book: str | None) -> list[Any]:
    """Queue so many quick jobs that the pool sends ahead what comes after them."""
    return [pool.queue(nap, (n, 0, book)) for n in range(2_000)]


# ------------------------------------------------------------------ who waits for a long job


@pytest.mark.parametrize("gil", [False, True], ids=["asleep", "with the GIL"])
def test_quick_jobs_do_not_wait_behind_a_long_one(gil: bool, book: str) -> None:
    clock = Clock()
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            early = learned(pool, book)
            gate = pool.queue(nap, (2_000, 0, book), deps=early)
            numbers = range(2_001, 2_301)
            long = numbers[5]
            jobs = {
                n: pool.queue(
                    nap, (n, LONG if n == long else 0, book, gil and n == long), deps=[gate]
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
            assert runs(book) == Counter(range(2_301))


def test_replies_do_not_wait_behind_a_long_job(book: str) -> None:
    """Those before the long one at its worker have ended, and their dependents run."""
    clock = Clock()
    last = 5_000 + len(WORKERS) - 1  # one worker stays free
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            early = learned(pool, book)
            gate = pool.queue(nap, (2_000, 0, book), deps=early)
            firsts, seconds = [], []
            for n in range(3_000, 3_100):
                firsts.append(pool.queue(nap, (n, 0, book), deps=[gate]))
                seconds.append(pool.queue(nap, (n + 1_000, 0, book), deps=[firsts[-1]]))
            longs = [pool.queue(nap, (n, LONG, book), deps=[gate]) for n in range(5_000, last)]
            clock.watch(gate, *firsts, *seconds, *longs)
        pool.execute()
        if MAIN:
            assert clock.seconds(gate, firsts + seconds) < SOON
            assert clock.seconds(gate, longs) > 2 * SOON
            assert set(runs(book).values()) == {1}
            assert len(runs(book)) == len(pool.jobs)


def test_jobs_with_arrays_do_not_wait_either(book: str) -> None:
    import numpy as np

    clock = Clock()
    array = np.arange(20_000)
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            gate = pool.queue(nap, (0, 0, book))
            jobs = {
                n: pool.queue(nap_in_array, (n, LONG if n == 100 else 0, book, array), deps=[gate])
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
            assert runs(book) == Counter(range(120))


def test_workers_share_what_one_of_them_was_sent() -> None:
    """Jobs that turn out longer than those before them do not pile up at one worker."""
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
def test_jobs_are_cancelled_while_they_are_handed_back(delay: float, book: str) -> None:
    """Cancelled jobs did not run, unless they did at that time; all others ran once."""
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            early = learned(pool, book)
            gate = pool.queue(nap, (2_000, 0, book), deps=early)
            jobs = [
                pool.queue(nap, (n, 0.1 if n % 50 == 1 else 0.0002, book), deps=[gate])
                for n in range(2_001, 2_201)
            ]
            victims = jobs[::3]
            cancelled = []

            def cancel(nodes: Any) -> None:
                while gate.status is not JobStatus.SUCCESS:
                    time.sleep(0.0005)
                time.sleep(delay)
                for job in victims:
                    if job.status in (JobStatus.PENDING, JobStatus.QUEUED):
                        job.cancel("by the test")
                        cancelled.append(job)

            pool.schedule([None], cancel)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of them have just begun
            results = pool.execute(return_results=True)
        if MAIN:
            ran = runs(book)
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
    """Return the run time of a job: most take nothing, some a bit, few long."""
    kind = rng.random()
    return 0.05 if kind < slow else rng.uniform(0, 0.003) if kind < 0.2 else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_any_mix_of_run_times_runs_once_and_in_order(seed: int, book: str) -> None:
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
                jobs.append(pool.queue(nap, (number, seconds, book), deps=waits_for))
            ends: list[int] = []
            for job in jobs:
                job.on_completion(lambda job: ends.append(job._id))
        results = pool.execute(return_results=True)
        if MAIN:
            assert list(results.values()) == list(range(n))
            assert sorted(ends) == list(range(n))
            order = [int(line) for line in Path(book).read_text().split()]
            assert sorted(order) == list(range(n))
            place = {number: at for at, number in enumerate(order)}
            for number in range(n):
                assert all(place[dep] < place[number] for dep in deps[number])
