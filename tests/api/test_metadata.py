"""When and where jobs ran, and numbers about a pool."""

from __future__ import annotations

import importlib.util
import platform
import time

import numpy as np
import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool, services

from .on_ranks import on_ranks
from .support import give


def sleep(owner, seconds):
    time.sleep(seconds)
    return services.MPI.get_rank()


def fail(owner):
    raise ValueError("no")


def run_with_times():
    before = time.time()
    with create_job_pool(quiet=True, timestamps=True) as pool:
        if pool.is_main():
            first = pool.submit(sleep, 0.05)
            second = pool.submit(sleep, 0.02, deps=[first])
            many = pool.queue_many(give, zip(range(300)))
            large = pool.submit(give, np.ones(100_000))
            named = pool.options(name="a name", priority=2).submit(sleep, 0.01)
            bad = pool.submit(fail)
            pool.add_listener(lambda record: True)
            assert first.metadata.submitted is not None
            assert first.metadata.started is None
            assert pool.statistics().wall_seconds == 0
        pool.execute()
        if not pool.is_main():
            return
        for job in (first, second, *many, large, named, bad):
            data = job.metadata
            assert before <= data.submitted <= data.started <= data.completed + 1e-6
            assert data.completed <= data.received + 1e-6 <= time.time() + 1e-3
            assert data.completed - data.started == pytest.approx(data.run_time, abs=1e-6)
            assert data.attempts == 1
            assert data.host == platform.node()
        assert 0.05 <= first.metadata.run_time < 0.5
        assert first.metadata.completed <= second.metadata.started
        assert [job.metadata.rank for job in (first, second)] == [first.result, second.result]
        assert bad.metadata.error == "ValueError: no"
        assert bad.metadata.status is JobStatus.FAILED
        if pool.parallel:
            assert large.metadata.bytes_in >= 800_000 <= large.metadata.bytes_out
            assert 0 < many[3].metadata.bytes_in < 100
        check_statistics(pool)


def check_statistics(pool):
    numbers = pool.statistics()
    assert numbers.jobs == pool.counts
    assert numbers.names == {"a name": {JobStatus.SUCCESS: 1}}
    assert numbers.serial_seconds >= 0.08
    assert numbers.wall_seconds >= 0.07
    assert numbers.speedup == pytest.approx(numbers.serial_seconds / numbers.wall_seconds)
    assert numbers.eta_seconds == 0
    assert set(numbers.clock_offsets.values()) <= {0.0}
    workers = numbers.workers
    if not pool.parallel:
        assert workers == ()
        return
    assert [worker.rank for worker in workers] == list(range(1, services.MPI.get_size()))
    assert sum(worker.done for worker in workers) == len(pool.jobs)
    assert all(worker.queued == worker.running == 0 for worker in workers)
    assert sum(worker.busy_seconds for worker in workers) == numbers.serial_seconds
    assert all(0 <= worker.busy_share <= 1.01 for worker in workers)
    assert max(worker.peak_memory for worker in workers) > 10 << 20
    assert numbers.bytes_in > 800_000 < numbers.bytes_out
    assert numbers.efficiency == pytest.approx(numbers.speedup / len(workers))
    with pytest.raises(TypeError):
        numbers.jobs[JobStatus.SUCCESS] = 3


def test_one_process():
    run_with_times()


@on_ranks(3)
def test_three_ranks():
    run_with_times()


@on_ranks(3)
def test_clocks_of_other_nodes_are_estimated():
    """The ranks of one machine have one clock, so the estimate is a latency."""
    world = services.MPI.get_communicator()
    from bsbpool.services.channels import channel_of

    channel_of(world).hosts = ("here", "there", "elsewhere")
    with create_job_pool(quiet=True, timestamps=True) as pool:
        if pool.is_main():
            jobs = pool.queue_many(sleep, [(0.001,)] * 40)
        pool.execute()
        if pool.is_main():
            offsets = pool.statistics().clock_offsets
            assert sorted(offsets) == [1, 2]
            ran = {job.metadata.rank for job in jobs}
            assert all(0 < offsets[rank] < 5 for rank in ran)
            assert {job.metadata.host for job in jobs} <= {"there", "elsewhere"}
            assert all(job.metadata.started <= job.metadata.received for job in jobs)


def test_without_timestamps(pool):
    job = pool.submit(give, 1)
    pool.execute()
    data = job.metadata
    assert (data.number, data.status) == (0, JobStatus.SUCCESS)
    assert (data.submitted, data.rank) == (None, None)
    assert dict(data)["status"] is data["status"]
    assert len(data) == len(list(data))
    with pytest.raises(KeyError):
        data["nothing"]
    assert pool.statistics().bytes_in is None


def test_during_the_run_there_is_an_estimate_of_the_end():
    seen = []
    with create_job_pool(quiet=True) as pool:
        jobs = pool.queue_many(sleep, [(0.01,)] * 10)
        jobs[4].on_completion(lambda job: seen.append(pool.statistics()))
        pool.execute()
    assert seen[0].jobs[JobStatus.SUCCESS] == 5
    assert 0.03 < seen[0].eta_seconds < 1


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="needs pandas")
def test_a_table():
    with create_job_pool(quiet=True, timestamps=True) as pool:
        pool.queue_many(give, zip(range(3)))
        pool.submit(fail)
        with pytest.raises(WorkflowError):
            pool.execute()
        table = pool.to_dataframe()
    assert list(table.index) == [0, 1, 2, 3]
    assert list(table["error"].isna()) == [True, True, True, False]


