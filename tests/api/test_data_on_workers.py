"""Large results stay on the workers that made them, and move from worker to worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bsbpool import JobPoolError, JobStatus, PoolExecutor, WorkflowError, create_job_pool
from bsbpool.exceptions import DataLostError

from .on_ranks import on_ranks

MIB = 1 << 20
LARGE = 64 * MIB
SLACK = 256 * 1024
"""Bytes of all other messages of a small run."""


def make(owner: Any, size: int, value: int = 1) -> Any:
    return np.full(size, value, np.uint8)


def total(owner: Any, *arrays: Any) -> int:
    return sum(int(array.sum(dtype=np.int64)) for array in arrays)


def rank_of(owner: Any, *inputs: Any) -> int:
    from mpi4py import MPI

    return MPI.COMM_WORLD.rank


def bytes_sent() -> Any:
    """Return the bytes that each rank (row) has sent to each rank, on all ranks."""
    from mpi4py import MPI

    from bsbpool.services.channels import channel_of

    sent = channel_of(MPI.COMM_WORLD).transport.bytes_sent
    return np.array(MPI.COMM_WORLD.allgather(sent))


def moved(queue: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Run what `queue` queues on the main rank; return its value and the bytes that were sent."""
    with create_job_pool(quiet=True):
        pass
    before = bytes_sent()
    value = None
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            value = queue(pool)
        pool.execute()
        if pool.is_main():
            value = value()
    return value, bytes_sent() - before


@on_ranks(2)
def test_the_next_job_on_the_same_rank_moves_nothing():
    def queue(pool):
        job = pool.submit(total, pool.options(keep="worker").submit(make, LARGE))
        return lambda: job.result

    value, sent = moved(queue)
    assert value in (LARGE, None)
    assert sent.sum() < SLACK, sent


@on_ranks(4)
def test_another_rank_gets_it_once_and_not_through_main():
    def queue(pool):
        large = pool.options(keep="worker").submit(make, LARGE)
        jobs = [pool.submit(slow_total, large) for _ in range(30)]
        return lambda: [job.result for job in jobs]

    value, sent = moved(queue)
    assert value in ([LARGE] * 30, None)
    assert sent[0].sum() < SLACK, sent
    assert sent[:, 0].sum() < SLACK, sent
    between = np.sort(sent[1:, 1:].sum(axis=0))  # what each worker has received
    assert between[0] < SLACK
    assert LARGE <= between[1] < LARGE + SLACK
    assert LARGE <= between[2] < LARGE + SLACK


def slow_total(owner, array):
    import time

    time.sleep(0.03)
    return total(owner, array)


@on_ranks(3)
def test_a_result_for_main_is_sent_there_once():
    def queue(pool):
        large = pool.submit(make, LARGE)
        jobs = [pool.submit(slow_total, large) for _ in range(10)]
        return lambda: (large.result.sum(dtype=np.int64), [job.result for job in jobs])

    value, sent = moved(queue)
    assert value in ((LARGE, [LARGE] * 10), None)
    assert sent[0].sum() < SLACK, sent
    assert LARGE <= sent[:, 0].sum() < LARGE + SLACK, sent
    assert sent[1:, 1:].sum() < LARGE + SLACK, sent


@on_ranks(3)
def test_a_job_runs_where_its_input_is_if_that_worker_is_free():
    """Chains are longer than the workers' lists of jobs, so their workers get other jobs, too."""

    def queue(pool):
        submit = pool.options(keep="worker").submit
        chains = [submit(make, MIB) for _ in range(6)]
        for _ in range(10):
            chains = [submit(slow_copy, chain) for chain in chains]
        sums = [pool.submit(total, chain) for chain in chains]
        return lambda: [job.result for job in sums]

    value, sent = moved(queue)
    assert value in ([MIB] * 6, None)
    assert sent[1:, 1:].sum() <= 6 * MIB + SLACK, sent


def slow_copy(owner, array):
    import time

    time.sleep(0.003)
    return array.copy()


@on_ranks(3)
def test_another_worker_takes_a_job_if_it_has_nothing_else_to_do():
    def queue(pool):
        large = pool.options(keep="worker").submit(make, MIB)
        jobs = [pool.submit(slow_rank, large) for _ in range(10)]
        return lambda: {job.result for job in jobs}

    value, _ = moved(queue)
    assert value in ({1, 2}, None)


def slow_rank(owner, array):
    import time

    time.sleep(0.02)
    return rank_of(owner)


@on_ranks(4)
def test_a_tree_of_sums_moves_few_arrays():
    """Without regard to places, two thirds of the 254 arguments would move."""

    def queue(pool):
        submit = pool.options(keep="worker").submit
        level = [submit(make, MIB) for _ in range(128)]
        while len(level) > 1:
            level = [submit(add, *pair) for pair in zip(level[::2], level[1::2], strict=True)]
        result = pool.submit(total, level[0])
        return lambda: result.result

    value, sent = moved(queue)
    assert value in (MIB * 128, None)
    assert sent[1:, 1:].sum() < 120 * MIB, sent


def run_copies():
    """What a job changes in its arguments is not seen by others, nor what the maker changes."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            shared = pool.submit(make_shared)
            jobs = [pool.submit(change, shared) for _ in range(12)]
            twice = pool.submit(lambda owner, a, b: a is b, shared, shared)
            after = pool.submit(total, shared)
        pool.execute()
        if pool.is_main():
            assert [job.result for job in jobs] == [MIB] * 12
            assert twice.result
            assert after.result == MIB


KEPT: list[Any] = []


def make_shared(owner):
    KEPT.append(np.ones(MIB, np.uint8))
    return KEPT[-1]


def change(owner, array):
    for kept in KEPT:
        kept += 1
    before = int(array.sum(dtype=np.int64))
    array += 1
    return before


def run_cross():
    """Each worker makes data that the others wait for."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            made = [pool.options(keep="worker").submit(make, MIB, i) for i in range(12)]
            sums = [pool.submit(total, *made[i:], *made[:i]) for i in range(24)]
            pairs = [pool.submit(total, made[i], {"x": made[i]}["x"]) for i in range(12)]
        pool.execute()
        if pool.is_main():
            assert [job.result for job in sums] == [MIB * sum(range(12))] * 24
            assert [job.result for job in pairs] == [2 * MIB * i for i in range(12)]


def run_tree():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            level = [pool.submit(make, MIB, i % 7) for i in range(64)]
            while len(level) > 1:
                pairs = zip(level[::2], level[1::2], strict=True)
                level = [pool.submit(add, a, b) for a, b in pairs]
        pool.execute()
        if pool.is_main():
            assert int(level[0].result[0]) == sum(i % 7 for i in range(64))


def add(owner, a, b):
    return a + b


def run_all():
    run_copies_on_ranks()
    run_cross()
    run_tree()


def run_copies_on_ranks():
    from mpi4py import MPI

    if MPI.COMM_WORLD.size > 1:
        run_copies()


def test_serial():
    run_cross()
    run_tree()


@on_ranks(2)
def test_on_two_ranks():
    run_all()


@on_ranks(3)
def test_on_three_ranks():
    run_all()


@on_ranks(4)
def test_on_four_ranks():
    run_all()


@on_ranks(3)
def test_data_are_dropped_with_their_last_user():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            for i in range(40):
                large = pool.options(keep="worker").submit(make, 4 * MIB, i)
                held = pool.submit(memory, large, deps=[pool.submit(total, large)])
        pool.execute()
        if pool.is_main():
            assert held.result < 120 * MIB


def memory(owner, *inputs):
    """Return how much memory this process has more than when it first called this."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if not KEPT:
        KEPT.append(now)
    return now - KEPT[0]


@on_ranks(3)
def test_main_does_not_have_what_its_worker_keeps():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            keeping = pool.options(keep="worker")
            large, small = keeping.submit(make, MIB), keeping.submit(make, 10)
            user = pool.submit(total, large)
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert small.result.sum() == 10
            assert user.result == MIB
            assert large.status is JobStatus.SUCCESS
            assert set(results) == {small, user}
            with pytest.raises(JobPoolError, match=r'keep="worker"'):
                _ = large.result


@on_ranks(3)
def test_a_job_queued_too_late_gets_a_clear_error():
    with create_job_pool(quiet=True) as pool:
        late = []
        if pool.is_main():
            large = pool.options(keep="worker").submit(make, MIB)
            user = pool.submit(total, large)
            user.on_completion(lambda job: late.append(pool.submit(total, large)))
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert isinstance(late[0].error, DataLostError)
            assert "dropped" in str(late[0].error)


@on_ranks(3)
def test_an_executor():
    with PoolExecutor() as executor:
        if executor is None:
            return
        large = executor.submit(np.ones, MIB)
        sums = [executor.submit(np.sum, large) for _ in range(8)]
        assert [future.result(30) for future in sums] == [MIB] * 8
        assert large.result(30).sum() == MIB


def die(owner, *inputs):
    os.kill(os.getpid(), signal.SIGKILL)


@on_ranks(4)
def test_without_threads_of_mpi():
    """Requests for data are answered between jobs."""
    import mpi4py

    mpi4py.rc.threads = False
    run_all()
    from mpi4py import MPI

    assert MPI.Query_thread() < MPI.THREAD_MULTIPLE
