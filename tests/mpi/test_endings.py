"""Runs that end early, by a signal or because a rank leaves; the next pool works."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

import pytest

from bsbpool import (
    JobPool,
    JobPoolError,
    JobPoolTimeoutError,
    JobStatus,
    WorkflowError,
    create_job_pool,
)

from .support import MAIN, WORLD, give, pool_works, work

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]


def test_ctrl_c_on_main_ends_the_run_on_all_ranks() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            jobs = [pool.submit(work, 0.3) for _ in range(100)]
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt if MAIN else WorkflowError):
            pool.execute()
        assert time.monotonic() - began < 10
        if MAIN:
            assert {job.status for job in jobs} <= {
                JobStatus.SUCCESS, JobStatus.CANCELLED, JobStatus.ABORTED,
            }  # fmt: skip
    pool_works()


@pytest.mark.parametrize("how", ["raises", "does not execute"])
def test_a_rank_that_leaves_without_executing(how: str) -> None:
    last = WORLD.rank == WORLD.size - 1
    error = None
    try:
        with create_job_pool(quiet=True) as pool:
            if MAIN:
                for _ in range(10):
                    pool.submit(work, 0.01)
            if not last:
                pool.execute()
            elif how == "raises":
                raise ZeroDivisionError
    except Exception as raised:
        error = raised
    if MAIN:
        assert isinstance(error, JobPoolError)
        assert f"rank {WORLD.size - 1}" in str(error)
    elif last:
        assert isinstance(error, ZeroDivisionError) == (how == "raises")
    else:
        assert isinstance(error, WorkflowError)
    pool_works()


def test_pools_that_end_early_in_sequence() -> None:
    """Messages in transit when a run ends must not reach the next run."""
    for n in range(15):
        with create_job_pool(quiet=True) as pool:
            pool.add_listener(ended_after(n))
            if MAIN:
                for i in range(200):
                    pool.submit(give, (n, i))
            with pytest.raises(StopIteration if MAIN else WorkflowError):
                pool.execute()
        if n % 3 == 0:
            pool_works()
    pool_works()


def ended_after(n: int):
    """Return a listener that ends the run when `n` jobs have succeeded."""
    seen = []

    def listener(progress):
        seen.append(progress.status is JobStatus.SUCCESS)
        if sum(seen) > n:
            raise StopIteration

    return listener


def test_memory_is_freed_with_the_pool() -> None:
    """Main keeps results until the end of the pool; workers keep nothing."""
    size = 4 << 20
    peak = resident()
    for n in range(12):
        with create_job_pool(quiet=True) as pool:
            if MAIN:
                for _ in range(10):
                    pool.submit(give, bytes(size))
            pool.execute()
        if n == 3:
            peak = settled()
    assert settled() < peak + 10 * size, "grows from pool to pool"


def test_a_worker_does_not_keep_large_arguments() -> None:
    size, many = 8 << 20, 60

    before = max(WORLD.allgather(resident()))

    def grown(owner, data):
        time.sleep(0.002)
        return resident() - before

    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(grown, bytes(size)) for _ in range(many)] if MAIN else []
        results = pool.execute(return_results=True)
        assert all(results[job] < many * size / 4 for job in jobs)


def settled() -> int:
    """Return the resident memory without the holes in the C library's heap."""
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def abandon(pool: JobPool, seconds: float) -> None:
    """Execute a pool that ends while a rank is inside a job."""
    if MAIN:
        pool.submit(work, seconds)
    with pytest.raises(JobPoolTimeoutError if MAIN else WorkflowError):
        pool.execute(timeout=0.1 if MAIN else None)


def check_that_it_runs(pool: JobPool) -> None:
    jobs = [pool.submit(give, n) for n in range(20)] if MAIN else []
    pool.execute()
    assert [job.result for job in jobs] == list(range(len(jobs)))


def test_a_pool_inside_an_abandoned_one() -> None:
    """The rank that was busy reports that it is back while the outer pool is still open."""
    with create_job_pool(quiet=True) as outer:
        abandon(outer, 0.5)
        if MAIN:
            time.sleep(0.6)
        with create_job_pool(quiet=True) as inner:
            check_that_it_runs(inner)


def test_pools_created_before_another_was_abandoned() -> None:
    first, second, third = (JobPool(n, None) for n in range(3))
    with first:
        abandon(first, 0.3)
    for pool in (second, third):  # the second pool receives the report that the rank is back
        with pool:
            check_that_it_runs(pool)
    pool_works()
