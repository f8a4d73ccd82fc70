"""Callables with large arrays are sent once to each machine; each call has a copy of its own."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from bsbpool import PoolExecutor, create_job_pool

from .on_ranks import on_ranks
from .test_data_on_workers import MIB, bytes_sent

SIZE = 16 * MIB


class Table:
    def __init__(self, start=0.0):
        self.array = np.arange(SIZE // 8, dtype=np.float64) + start
        self.calls = []

    def read(self, i):
        """Return an element; a call that sees what another one has changed fails."""
        assert not self.calls
        assert self.array[0] == self.array[1] - 1
        self.calls.append(i)
        self.array[0] = -1
        return float(self.array[i])

    def job(self, owner, i):
        return self.read(i)

    def __call__(self, owner, i):
        return self.read(i)


def read(array, owner, i):
    assert array[0] == 0
    array[0] = 1
    return float(array[i])


N = 100
WANTED = [float(i) for i in range(1, N + 1)]


def run_jobs():
    """Queue each kind of callable many times; return the results of all kinds."""
    results: dict[str, Any] = {}
    before = bytes_sent()
    with create_job_pool(quiet=True) as pool:
        jobs: dict[str, Any] = {}
        if pool.is_main():
            table = Table()
            array = table.array

            def closure(owner, i):
                return read(array, owner, i)

            kinds = {
                "method": table.job,
                "object": table,
                "partial": functools.partial(read, table.array),
                "closure": closure,
            }
            for name, f in kinds.items():
                jobs[name] = [pool.submit(f, i) for i in range(1, N + 1)]
            jobs["optioned"] = [
                pool.options(name="x").submit(table.job, i) for i in range(1, N + 1)
            ]
        pool.execute()
        for name, queued in jobs.items():
            results[name] = [job.result for job in queued]
    sent = bytes_sent() - before
    assert all(values == WANTED for values in results.values())
    # The first call of each kind is sent as it is; a copy for each would be 8 GiB.
    assert sent.sum() < 16 * SIZE, sent


def run_maps():
    table = Table()
    with PoolExecutor() as executor:
        if executor is None:
            return
        assert list(executor.map(table.read, range(1, N + 1))) == WANTED
        assert list(executor.map(table.read, range(1, N + 1), chunksize=7)) == WANTED
        partial = functools.partial(read, table.array, None)
        assert list(executor.map(partial, range(1, N + 1))) == WANTED
        futures = [executor.submit(table.read, i) for i in range(1, N + 1)]
        assert [future.result(30) for future in futures] == WANTED
        assert not table.calls


def run_changes():
    """A callable whose state has changed is sent with the new state."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            table = Table()
            jobs = []

            def again(job):
                assert job.result == len(jobs)
                if len(jobs) < 8:
                    table.array += 1
                    queue()

            def queue():
                jobs.append(pool.submit(table.job, 1))
                jobs[-1].on_completion(again)

            queue()
        pool.execute()
        if pool.is_main():
            assert len(jobs) == 8


def run_unequal():
    """Different objects of equal size are not mixed up."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            tables = [Table(start) for start in range(4)]
            jobs = [(k, pool.submit(tables[k].job, 1)) for _ in range(4) for k in range(4)]
        pool.execute()
        if pool.is_main():
            assert all(job.result == k + 1 for k, job in jobs)


def test_maps_of_one_process():
    run_maps()


@on_ranks(2)
def test_on_two_ranks():
    run_jobs()
    run_maps()
    run_changes()
    run_unequal()


@on_ranks(4)
def test_on_four_ranks():
    run_jobs()
    run_maps()
    run_changes()
    run_unequal()


@on_ranks(3)
def test_without_shared_memory():
    os.environ["BSBPOOL_SHARED_MEMORY"] = "0"
    run_maps()
    run_changes()
