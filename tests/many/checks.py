"""What pools of many ranks must do; each check runs on all ranks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import bsbpool
from bsbpool import (
    JobPoolTimeoutError,
    JobStatus,
    PoolExecutor,
    WorkflowError,
    create_job_pool,
    pool_cached_function,
    services,
)
from bsbpool.progress import PoolProgressReason

Settings = dict[str, Any]
"""The shape of a pool, as arguments of `create_job_pool`."""

evaluated: list[int] = []


def give(owner: Any, value: Any = None) -> Any:
    """Return the argument."""
    return value


def rank_after(owner: Any, seconds: float) -> int:
    """Sleep; return the rank."""
    time.sleep(seconds)
    return bsbpool.current_job().rank


def add(owner: Any, *numbers: int) -> int:
    """Return one more than the sum."""
    return 1 + sum(numbers)


def fail(owner: Any) -> None:
    raise ValueError("no")


@pool_cached_function
def table(n: int) -> list[int]:
    evaluated.append(n)
    return list(range(n))


def use_table(owner: Any, n: int) -> tuple[int, int, int]:
    """Return the rank, the length of the table, and how often it was evaluated on this rank."""
    time.sleep(0.002)
    return bsbpool.current_job().rank, len(table(n)), len(evaluated)


def total(owner: Any, array: Any, n: int) -> float:
    return float(array.sum()) + n


def square(n: int) -> int:
    return n * n


def workers(settings: Settings) -> list[int]:
    """Return the ranks that run jobs."""
    return list(range(0 if settings.get("main_works") else 1, services.MPI.get_size()))


def plain_jobs(settings: Settings) -> None:
    """Results are complete and in order, and every worker runs jobs."""
    ranks = workers(settings)
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main():
            jobs = [pool.submit(give, n) for n in range(200 * len(ranks))]
            placed = {rank: pool.options(targets=[rank]).submit(rank_after, 0.0) for rank in ranks}
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert [results[job] for job in jobs] == list(range(len(jobs)))
            assert {rank: results[job] for rank, job in placed.items()} == {
                rank: rank for rank in ranks
            }


def dependencies(settings: Settings) -> None:
    """A grid in which each job has the results of three jobs of the row before as arguments."""
    width, rows = 4 * len(workers(settings)), 12
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main():
            row = [pool.submit(add) for _ in range(width)]
            for _ in range(rows - 1):
                row = [pool.submit(add, row[i - 1], row[i], row[i - 2]) for i in range(width)]
            end = pool.queue(give, (7,), deps=row)
        results = pool.execute(return_results=True)
        if pool.is_main():
            value = 1
            for _ in range(rows - 1):
                value = 1 + 3 * value
            assert {results[job] for job in row} == {value}
            assert results[end] == 7


def caching(settings: Settings) -> None:
    """An item is evaluated once on each rank, and freed after its last user."""
    evaluated.clear()
    ranks = workers(settings)
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main():
            users = [
                pool.queue(use_table, (50,), cache_items=[table]) for _ in range(8 * len(ranks))
            ]
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert {results[job][1:] for job in users} == {(50, 1)}
    assert evaluated in ([], [50])
    assert table.cache_info().currsize == 0


def listeners(settings: Settings) -> None:
    """A listener gets each status of each job once, and failures are raised on all ranks."""
    seen: Counter[tuple[Any, JobStatus]] = Counter()
    n = 5 * len(workers(settings))
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main():
            jobs = [pool.submit(give, n) for n in range(n)]
            bad = [pool.submit(fail) for _ in range(3)]
            after = pool.queue(give, (), deps=bad)

            def listener(progress: Any) -> None:
                if progress.reason is PoolProgressReason.JOB_STATUS_CHANGE:
                    seen[progress.job, progress.status] += 1

            pool.add_listener(listener)
        try:
            pool.execute()
        except WorkflowError:
            pass
        else:
            raise AssertionError("the failures were not raised")
        if pool.is_main():
            assert set(seen.values()) == {1}
            assert all(seen[job, JobStatus.SUCCESS] for job in jobs)
            assert all(seen[job, JobStatus.RUNNING] for job in [*jobs, *bad])
            assert all(seen[job, JobStatus.FAILED] for job in bad)
            assert after.status is JobStatus.CANCELLED


def executor(settings: Settings) -> None:
    """Calls and maps of an executor."""
    with PoolExecutor(**settings) as calls:
        if calls is not None:
            n = 20 * calls.num_workers
            futures = [calls.submit(square, i) for i in range(n)]
            assert [future.result() for future in futures] == [i * i for i in range(n)]
            assert list(calls.map(square, range(10 * n))) == [i * i for i in range(10 * n)]


def broadcast(settings: Settings) -> None:
    """All jobs share one object of a megabyte."""
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main():
            data = pool.broadcast(np.arange(1 << 17, dtype=float))
            jobs = [pool.submit(total, data, i) for i in range(4 * len(workers(settings)))]
        results = pool.execute(return_results=True)
        if pool.is_main():
            expected = float(np.arange(1 << 17, dtype=float).sum())
            assert [results[job] for job in jobs] == [expected + i for i in range(len(jobs))]


def time_limit(settings: Settings) -> None:
    """A run that is over ends on all ranks, and interrupts its jobs."""
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main():
            jobs = [pool.submit(rank_after, 30.0) for _ in range(2 * len(workers(settings)))]
        try:
            pool.execute(timeout=0.2)
        except (JobPoolTimeoutError, WorkflowError) as error:
            assert isinstance(error, JobPoolTimeoutError) == pool.is_main()
        else:
            raise AssertionError("the run did not end early")
        if pool.is_main():
            assert {job.status for job in jobs} <= {JobStatus.ABORTED, JobStatus.CANCELLED}
    plain_jobs(settings)


CHECKS: list[Callable[[Settings], None]] = [
    plain_jobs,
    dependencies,
    caching,
    listeners,
    executor,
    broadcast,
    time_limit,
]
