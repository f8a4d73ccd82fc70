"""Pools with a journal on several ranks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bsbpool import PoolExecutor, WorkflowError, create_job_pool
from bsbpool.journal import Journal
from bsbpool.journal.contents import JournalContents

from .support import MAIN, WORKERS, WORLD, fail, give, rank, run

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]


@pytest.fixture
def path() -> Iterator[str]:
    """Make a folder; return the path of a journal in it, the same on all ranks."""
    with tempfile.TemporaryDirectory() as folder:
        yield WORLD.bcast(os.path.join(folder, "run.journal"))
        WORLD.barrier()


def effect(owner: Any, path: str, name: Any, *others: Any) -> Any:
    """Append a line to a file; return the arguments."""
    with open(f"{path}.effects", "a") as file:
        file.write(f"{name}\n")
    return [name, *others]


def effects(path: str) -> list[str]:
    """Return the sorted lines of that file, and empty it."""
    if not MAIN:
        return []
    name = f"{path}.effects"
    if not os.path.exists(name):
        return []
    with open(name) as file:
        found = sorted(file.read().split())
    os.unlink(name)
    return found


def test_a_second_run_runs_only_what_is_left(path: str) -> None:
    def fill(pool: Any, n: int) -> Any:
        first = [pool.submit(effect, path, i) for i in range(n)]
        return [*first, pool.submit(effect, path, "all", *first[:8])]

    results = run(lambda pool: fill(pool, 20), journal=path)
    assert not MAIN or effects(path) == sorted(map(str, [*range(20), "all"]))
    again = run(lambda pool: fill(pool, 25), journal=path)
    assert not MAIN or again[:20] + again[-1:] == results
    assert not MAIN or effects(path) == sorted(map(str, range(20, 25)))


def test_large_results_are_arguments_again(path: str) -> None:
    def fill(pool: Any, n: int) -> Any:
        large = pool.submit(give, np.arange(100_000))
        return [pool.submit(np_sum, large, i) for i in range(n)]

    journal = Journal(path, side_file_size=200_000)
    run(lambda pool: fill(pool, 2), journal=journal)
    results = run(lambda pool: fill(pool, 6), journal=journal)
    assert not MAIN or results == [4999950000 + i for i in range(6)]
    assert not MAIN or len(os.listdir(f"{path}.d")) == 1


def np_sum(owner: Any, array: Any, more: int) -> int:
    return int(array.sum()) + more


def test_what_stays_on_workers_is_not_recorded(path: str) -> None:
    def fill(pool: Any) -> Any:
        kept = pool.options(keep="worker").submit(give, np.arange(50_000))
        pushed = pool.push({"a": 1})
        pulled = pool.options(deps=pushed.values(), journaled=False).submit(give, 1)
        everywhere = pool.run_on_all(rank)
        return [*everywhere.values(), pulled, pool.submit(np_sum, kept, 0)]

    for _ in range(2):
        results = run(fill, journal=path)
        assert not MAIN or results == [*WORKERS, 1, 1249975000]


def test_errors_run_again(path: str) -> None:
    for expected in (["0", "1"], []):
        with create_job_pool(quiet=True, journal=path) as pool:
            if pool.is_main():
                jobs = [pool.submit(effect, path, 0), pool.submit(effect, path, 1)]
                bad = pool.options(retries=1).submit(fail, "no")
            with pytest.raises(WorkflowError):
                pool.execute()
            if pool.is_main():
                assert [job.result for job in jobs] == [[0], [1]]
                assert str(bad.error) == "no"
        assert effects(path) == (expected if MAIN else [])


def test_jobs_on_several_ranks(path: str) -> None:
    def fill(pool: Any) -> Any:
        return [pool.options(ranks=n, gather=True).submit(effect, path, "gang")]

    n = WORLD.size - 1
    first = run(fill, journal=path, main_works=False)
    assert not MAIN or effects(path) == ["gang"] * n
    assert run(fill, journal=path, main_works=False) == first
    assert effects(path) == []


def test_executors(path: str) -> None:
    for expected in (["1", "2", "3", "then"], []):
        with PoolExecutor(journal=path) as executor:
            if executor is not None:
                futures = list(executor.map(effect, [None] * 3, [path] * 3, [1, 2, 3]))
                then = executor.submit(effect, None, path, "then", executor.submit(give, None, 5))
                assert [*futures, then.result()] == [[1], [2], [3], ["then", 5]]
        assert effects(path) == (expected if MAIN else [])


def fail_or_count(owner: Any, path: str) -> int:
    """Fail; in the third attempt over all runs, return the number of the attempt."""
    with open(f"{path}.effects", "a+") as file:
        file.write("attempt\n")
        file.seek(0)
        n = len(file.readlines())
    if n < 3:
        raise ValueError("no")
    return n


def test_retries_of_calls_go_on_in_the_next_run(path: str) -> None:
    for retries, succeeds in ((1, False), (3, True), (3, True)):
        with PoolExecutor(journal=path) as executor:
            if executor is not None:
                call = executor.options(retries=retries).submit(fail_or_count, None, path)
                assert (call.exception() is None) == succeeds
                assert not succeeds or call.result() == 3
    if MAIN:
        assert [job.attempts for job in JournalContents(path).jobs()] == [3]
    assert effects(path) == (["attempt"] * 3 if MAIN else [])
