"""Handles of results: ready, wait, get; groups; coroutines."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from bsbpool import (
    JobCancelledError,
    JobErroredError,
    JobPoolError,
    JobStatus,
    WorkflowError,
    create_job_pool,
)

from .on_ranks import on_ranks
from .support import give


def fail(owner, text):
    raise ValueError(text)


def sleep(owner, seconds):
    time.sleep(seconds)
    return seconds


# ------------------------------------------------------------------ single jobs and groups


def test_after_the_run(pool):
    good, bad = pool.submit(give, 3), pool.submit(fail, "no")
    assert not good.ready()
    with pytest.raises(WorkflowError):
        pool.execute()
    assert good.ready()
    assert bad.ready()
    assert good.successful()
    assert not bad.successful()
    assert good.wait()
    assert good.get() == 3
    with pytest.raises(ValueError, match="no"):
        bad.get()


def test_a_wait_that_would_not_end_is_refused(pool):
    job = pool.submit(give, 1)
    with pytest.raises(JobPoolError, match=r"call pool.execute\(\) first"):
        job.wait()
    with pytest.raises(JobPoolError, match=r"call pool.execute\(\) first"):
        pool.gather([job])
    with pytest.raises(JobPoolError, match=r"call pool.execute\(\) first"):
        list(pool.as_completed([job]))
    errors = []

    def callback(_):
        try:
            later.wait()
        except JobPoolError as error:
            errors.append(error)

    job.on_completion(callback)
    later = pool.submit(give, 2, deps=[job])
    pool.execute()
    assert "this thread executes the pool" in str(errors[0])


def test_a_wait_after_the_block_of_a_pool_that_was_not_executed():
    with pytest.warns(RuntimeWarning), create_job_pool(quiet=True) as pool:
        job = pool.submit(give, 1)
    with pytest.raises(JobPoolError, match=r"without pool.execute\(\)"):
        job.wait(1)


def test_timeouts(pool):
    job = pool.submit(give, 1)
    assert not job.wait(0.01)
    with pytest.raises(TimeoutError, match=r"job 0 .* within 0.01 s"):
        job.get(0.01)
    with pytest.raises(TimeoutError, match="2 of 2 jobs"):
        pool.gather([job, pool.submit(give, 2)], 0.01)
    with pytest.raises(ValueError, match=r"^timeout"):
        job.wait(-1)
    pool.execute()


def test_a_group(pool):
    group = pool.group(pool.queue_many(give, zip(range(5))))
    assert len(group) == len(list(group)) == 5
    assert not group.ready()
    assert "0 of 5" in repr(group)
    pool.execute()
    assert group.ready()
    assert group.successful()
    assert group.get() == pool.gather(group) == [0, 1, 2, 3, 4]
    for wrong in (group.jobs[0], 3, [3]):
        with pytest.raises(TypeError, match="jobs must"):
            pool.group(wrong)


def test_a_group_is_cancelled(pool):
    group = pool.group(pool.queue_many(give, zip(range(5))))
    group.cancel("not needed")
    pool.execute()
    assert {job.status for job in group} == {JobStatus.CANCELLED}
    with pytest.raises(WorkflowError, match="5 of 5 jobs did not succeed"):
        group.get()


def test_the_error_of_a_group_has_every_failure_and_four_tracebacks(pool):
    jobs = pool.queue_many(fail, [(f"number {n}",) for n in range(9)])
    jobs.append(pool.submit(give, 1))
    with pytest.raises(WorkflowError):
        pool.execute()
    with pytest.raises(WorkflowError, match="9 of 10 jobs") as raised:
        pool.gather(jobs)
    errors = raised.value.exceptions
    assert [str(error.error) for error in errors] == [f"number {n}" for n in range(9)]
    assert all(isinstance(error, JobErroredError) for error in errors)
    assert [error.__cause__ is not None for error in errors] == [True] * 4 + [False] * 5
    assert "number 8" in str(errors[8])


def test_in_the_order_of_completion(pool):
    first = pool.submit(give, 1)
    second = pool.submit(give, 2)
    third = pool.submit(give, 3, deps=[second])
    first.cancel()
    pool.execute()
    assert set(pool.as_completed([third, second, first, third])) == {first, second, third}


# ------------------------------------------------------------------ other threads


def test_another_thread_waits(pool):
    jobs = pool.queue_many(sleep, [(0.01,)] * 3)
    seen = []

    def watch():
        seen.append(jobs[0].get(30))
        seen.append([job.number for job in pool.as_completed(jobs)])
        seen.append(pool.gather(jobs))

    thread = threading.Thread(target=watch)
    thread.start()
    pool.execute()
    thread.join(30)
    assert seen == [0.01, [0, 1, 2], [0.01] * 3]


def wait_in_a_scheduler():
    seen = []
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():

            def plan(node):
                first = pool.submit(give, 1)
                seen.append(first.get())
                seen.append(pool.gather(pool.queue_many(give, zip(range(3)))))

            pool.schedule([None], plan)
        if pool.parallel:
            pool.execute()
            assert seen == ([1, [0, 1, 2]] if pool.is_main() else [])
        else:
            with pytest.raises(WorkflowError) as raised:
                pool.execute()
            cause = raised.value.exceptions[0].__cause__
            assert "when the schedulers have ended" in str(cause)


def test_a_scheduler_of_one_process_cannot_wait():
    wait_in_a_scheduler()


@on_ranks(3)
def test_a_scheduler_waits():
    wait_in_a_scheduler()


# ------------------------------------------------------------------ coroutines


async def use_coroutines():
    async with create_job_pool(quiet=True) as pool:
        if not pool.is_main():
            await pool.execute_async()
            return
        jobs = pool.queue_many(give, zip(range(4)))
        bad = pool.submit(fail, "no")
        long = pool.submit(sleep, 0.3)
        pool.add_listener(lambda record: True)
        ticks = 0

        async def tick():
            nonlocal ticks
            while not long.ready():
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.ensure_future(tick())
        run = asyncio.ensure_future(pool.execute_async(return_results=True))
        assert await jobs[2] == 2
        assert await asyncio.gather(*jobs) == [0, 1, 2, 3]
        assert await pool.group(jobs) == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="no"):
            await bad
        with pytest.raises(WorkflowError):
            await pool.group([bad, *jobs])
        seen = [job async for job in pool.as_completed([long, *jobs])]
        assert seen[-1] is long
        assert set(seen) == {long, *jobs}
        results = await run
        await ticking
        assert ticks > 5
        assert results[long] == 0.3


def test_coroutines():
    asyncio.run(use_coroutines())


@on_ranks(3)
def test_coroutines_on_ranks():
    asyncio.run(use_coroutines())


def stop_a_run(stop):
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.queue_many(sleep, [(0.02,)] * 1_000)
            stop(pool)
        with pytest.raises((JobCancelledError, WorkflowError, JobPoolError)) as raised:
            pool.execute()
        if pool.is_main():
            assert raised.type is JobCancelledError
            assert "was stopped by pool.stop()" in str(raised.value)
            ends = pool.counts
            assert 0 < ends[JobStatus.SUCCESS] < 900
            assert sum(ends.values()) == 1_000
            assert "it was stopped" in str(pool.jobs[-1].error)


def stop_later(pool):
    threading.Timer(0.3, pool.stop).start()


def test_a_run_is_stopped_by_another_thread():
    stop_a_run(stop_later)


def test_a_run_is_stopped_by_a_callback():
    stop_a_run(lambda pool: pool.jobs[3].on_completion(lambda _: pool.stop()))


@on_ranks(3)
def test_a_run_on_ranks_is_stopped():
    stop_a_run(stop_later)


def test_the_run_of_a_cancelled_task_is_stopped():
    async def main():
        async with create_job_pool(quiet=True) as pool:
            jobs = pool.queue_many(sleep, [(0.02,)] * 500)
            run = asyncio.ensure_future(pool.execute_async())
            await jobs[1]
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert jobs[-1].status is JobStatus.CANCELLED

    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 8


def test_jobs_that_have_ended_are_read_in_a_callback(pool):
    seen = []
    jobs = pool.queue_many(give, zip(range(3)))
    last = pool.submit(give, 3, deps=jobs)
    for job in jobs:
        job.on_completion(lambda _: seen.append(len(list(pool.as_completed(jobs[:1])))))
    last.on_completion(lambda _: seen.append(list(pool.as_completed([*jobs, last]))))
    pool.execute()
    assert seen[:3] == [1, 1, 1]
    assert set(seen[3]) == {*jobs, last}


def test_an_error_in_the_block_stops_the_run_and_closes_the_pool():
    async def main():
        async with create_job_pool(quiet=True) as pool:
            jobs = pool.queue_many(sleep, [(0.02,)] * 500)
            run = asyncio.ensure_future(pool.execute_async())
            try:
                await jobs[1]
                raise LookupError
            finally:
                opened.append((pool, run))

    opened = []
    with pytest.raises(LookupError):
        asyncio.run(main())
    pool, run = opened[0]
    assert run.done()
    assert pool.id is None


def test_waiters_of_a_pool_that_is_left_without_a_run_end():
    errors = []

    def watch(job):
        try:
            job.wait()
        except JobPoolError as error:
            errors.append(str(error))

    with pytest.raises(LookupError), create_job_pool(quiet=True) as pool:
        thread = threading.Thread(target=watch, args=(pool.submit(give, 1),))
        thread.start()
        raise LookupError
    thread.join(10)
    assert "without pool.execute()" in errors[0]
