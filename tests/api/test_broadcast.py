"""Objects that are broadcast: one copy on each machine, read-only, dropped after their last use."""

from __future__ import annotations

import gc
import os
import pickle
import time
from typing import Any

import numpy as np
import pytest

from bsbpool import PoolExecutor, create_job_pool

from .on_ranks import launch_body, on_ranks
from .test_data_on_workers import MIB, SLACK, bytes_sent

SIZE = 64 * MIB


def pick(owner: Any, table: Any, i: int) -> float:
    assert not table["numbers"].flags.writeable
    table["changed"] = True  # each job has a dict of its own
    return float(table["numbers"][i])


def own_pss(owner: Any, table: Any) -> int:
    """Return this process's share of memory while all ranks have read the whole array."""
    assert "changed" not in table
    table["numbers"].sum()
    time.sleep(0.3)
    return pss()


def pss() -> int:
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024


def shared_maps(*_: Any) -> int:
    """Return how many objects that were broadcast this process has in its memory."""
    with open("/proc/self/maps") as file:
        return sum("bsbpool-broadcast" in line for line in file)


def measure(n_jobs: int) -> Any:
    """Run jobs with an array of 64 MiB; return the bytes sent, and the memory before and during."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.queue_many(time_sleep, [(0.1,)] * 2 * comm.size)
        pool.execute()
    table = {"numbers": np.arange(SIZE // 8, dtype=np.float64)} if comm.rank == 0 else None
    gc.collect()
    memory, sent = comm.allgather(pss()), bytes_sent()
    during: list[int] = []
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            ref = pool.broadcast(table)
            jobs = [pool.submit(pick, ref, i) for i in range(n_jobs)]
            measured = [
                pool.options(targets=[rank]).submit(own_pss, [ref][0])
                for rank in range(1, comm.size)
            ]
        pool.execute()
        if pool.is_main():
            assert [job.result for job in jobs] == list(range(n_jobs))
            during = [pss(), *(job.result for job in measured)]
    return bytes_sent() - sent, memory, during


def time_sleep(owner: Any, seconds: float) -> None:
    time.sleep(seconds)


@on_ranks(4)
def test_one_machine_gets_it_once():
    """64 MiB for 1,000 jobs on three workers: nothing over MPI, and 64 MiB of memory in all."""
    sent, before, during = measure(1000)
    assert sent.sum() < MIB, sent
    if during:
        more = sum(during) - sum(before)
        assert more < 1.1 * SIZE, (before, during)


def on_three_nodes():
    sent, _, _ = measure(50)
    received = sent.sum(axis=0)
    nodes = [rank % 3 for rank in range(5)]
    for node in (1, 2):
        total = sum(received[rank] for rank in range(5) if nodes[rank] == node)
        assert SIZE <= total < SIZE + SLACK, sent
    assert received[3] < SLACK


def on_four_nodes():
    sent, _, _ = measure(50)
    received = sent.sum(axis=0)
    assert all(SIZE <= received[rank] < SIZE + SLACK for rank in (1, 2, 3)), sent


@pytest.mark.parametrize(("n", "nodes", "body"), [(5, 3, on_three_nodes), (4, 4, on_four_nodes)])
def test_other_machines_get_it_once(monkeypatch, n, nodes, body):
    monkeypatch.setenv("BSBPOOL_TEST_NODES", str(nodes))
    done = launch_body(n, body)
    assert done.returncode == 0, done.stdout


def run_lifetimes():
    """The data are dropped when neither a job nor the user needs them."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            ref = pool.broadcast(np.ones(MIB))
            held = [pool.submit(total, ref, [ref]) for _ in range(8)]
            later = pool.submit(shared_maps, deps=held)
            del ref
            after = pool.submit(wait_and_count, deps=[later])
            kept = pool.broadcast(np.ones(MIB))
            used = pool.submit(total, kept, deps=[after])
        pool.execute()
        if pool.is_main():
            assert [job.result for job in held] == [2 * MIB] * 8
            assert after.result == 0
            assert used.result == MIB
            assert kept.value.sum() == MIB
            assert kept.nbytes >= 8 * MIB


def wait_and_count(owner):
    time.sleep(0.1)
    return shared_maps()


def total(owner, array, more=()):
    return float(array.sum() + sum(item.sum() for item in more))


def run_executor():
    with PoolExecutor() as executor:
        if executor is None:
            return
        ref = executor.broadcast({"x": np.ones(MIB)})
        futures = [executor.submit(get, ref, i) for i in range(20)]
        assert [future.result(30) for future in futures] == [MIB + i for i in range(20)]


def get(values, i):
    with pytest.raises(ValueError, match="read-only"):
        values["x"][0] = 5
    values["x"] = values["x"].sum() + i
    return values["x"]


def run_containers():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            ref = pool.broadcast({1, 2})
            job = pool.submit(lambda owner, a, k: (a, k), [ref, (3, ref)], k={"x": ref})
            text = pool.broadcast("x" * MIB)
            long = pool.submit(lambda owner, text: len(text), text)
            assert pool.jobs[0].label
        pool.execute()
        if pool.is_main():
            assert job.result == ([{1, 2}, (3, {1, 2})], {"x": {1, 2}})
            assert long.result == MIB


def run_all():
    run_executor()
    run_containers()


def test_serial():
    run_all()


@on_ranks(2)
def test_on_two_ranks():
    run_lifetimes()
    run_all()


@on_ranks(4)
def test_on_four_ranks():
    run_lifetimes()
    run_all()


@pytest.mark.parametrize("n", [1, 3])
def test_without_shared_memory(monkeypatch, n):
    monkeypatch.setenv("BSBPOOL_SHARED_MEMORY", "0")
    done = launch_body(n, run_all)
    assert done.returncode == 0, done.stdout


def test_a_strict_pool():
    with create_job_pool(quiet=True, strict=True) as pool:
        ref = pool.broadcast([1, 2])
        job = pool.submit(lambda owner, values: values, ref)
        pool.execute()
        assert job.result == [1, 2]


def test_what_the_user_changes_later_is_not_seen(pool):
    numbers = np.arange(MIB)
    ref = pool.broadcast(numbers)
    job = pool.submit(lambda owner, given: int(given[0]), ref)
    numbers += 5
    pool.execute()
    assert job.result == 0
    assert "bytes" in repr(ref)


def test_it_cannot_be_pickled_elsewhere(pool):
    ref = pool.broadcast(1)
    with pytest.raises(TypeError, match="pass it to jobs"):
        pickle.dumps(ref)
    pool.execute()


def test_memory_is_freed_with_the_reference():
    before = len(os.listdir("/proc/self/fd"))
    with create_job_pool(quiet=True) as pool:
        ref = pool.broadcast(np.ones(MIB))
        assert len(os.listdir("/proc/self/fd")) == before + 1
        del ref
        assert len(os.listdir("/proc/self/fd")) == before
        pool.execute()
