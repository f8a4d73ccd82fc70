"""Items that jobs cache on their rank exist there exactly as long as a job needs them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bsbpool import create_job_pool, pool_cached_function

from .support import MAIN, WORKERS, WORLD

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]

evaluated: list[int] = []


@pool_cached_function
def table(n: int) -> list[int]:
    evaluated.append(n)
    return list(range(n))


@pytest.fixture(autouse=True)
def empty():
    table.cache_clear()
    evaluated.clear()
    yield
    table.cache_clear()


def use(owner: Any, n: int) -> tuple[int, int]:
    """Use the table; return the rank and the number of evaluations there."""
    time.sleep(0.005)
    assert len(table(n)) == n
    return WORLD.rank, evaluated.count(n)


def look(owner: Any) -> tuple[int, int]:
    """Return the rank and the number of items in its cache."""
    time.sleep(0.005)
    return WORLD.rank, table.cache_info().currsize


def test_evaluated_once_per_rank_and_freed_after_the_last_job() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            users = [pool.queue(use, (50,), cache_items=[table]) for _ in range(20 * len(WORKERS))]
            after = [pool.queue(look, deps=users) for _ in range(20 * len(WORKERS))]
        results = pool.execute(return_results=True)
        if MAIN:
            assert {results[job] for job in users} == {(rank, 1) for rank in WORKERS}
            assert {results[job] for job in after} == {(rank, 0) for rank in WORKERS}
    assert table.cache_info().currsize == 0


def test_kept_while_a_waiting_job_needs_it() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            users = [pool.queue(use, (50,), cache_items=[table]) for _ in range(20 * len(WORKERS))]
            between = [pool.queue(look, deps=users) for _ in range(20 * len(WORKERS))]
            pool.queue(use, (50,), cache_items=[table], deps=between)
        results = pool.execute(return_results=True)
        if MAIN:
            assert {results[job] for job in between} == {(rank, 1) for rank in WORKERS}


def test_nothing_is_kept_after_the_run() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            for n in range(40):
                pool.queue(use, (n,))  # does not declare that it needs the table
        pool.execute()
        assert table.cache_info().currsize == 0


def test_each_run_evaluates_again() -> None:
    for _ in range(3):
        with create_job_pool(quiet=True) as pool:
            if MAIN:
                for _ in range(20 * len(WORKERS)):
                    pool.queue(use, (50,), cache_items=[table])
            pool.execute()
    assert evaluated == ([50] * 3 if WORLD.rank in WORKERS else [])
