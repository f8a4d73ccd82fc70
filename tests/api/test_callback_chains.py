"""Chains of thousands of callbacks, each of which causes the next one."""

from __future__ import annotations

import asyncio
import signal
import threading
from itertools import pairwise

import pytest

from bsbpool import WorkflowError, create_job_pool
from bsbpool.futures import PoolExecutor
from bsbpool.futures.future import PoolFuture

from .support import give, statuses

N = 5_000
GATE = threading.Semaphore(0)

STEPS = {
    "cancel": (lambda job: job.cancel(), "cancelled"),
    "set_result": (lambda job: job.set_result(7), "success"),
    "set_exception": (lambda job: job.set_exception(ValueError("no")), "failed"),
    "run": (lambda job: job.run(), "success"),
    "change_status": (lambda job: job.change_status(type(job.status).CANCELLED), "cancelled"),
}


@pytest.mark.parametrize("step", STEPS)
def test_19_each_callback_ends_the_next_job(step):
    act, ending = STEPS[step]
    called = []

    def then(following):
        def callback(job):
            called.append(job)
            act(following)

        return callback

    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(N)]
        for job, following in pairwise(jobs):
            job.on_completion(then(following))
        if ending == "failed":
            with pytest.raises(WorkflowError) as caught:
                pool.execute()
            assert len(caught.value.exceptions) == N - 1
        else:
            pool.execute()
        assert statuses(*jobs) == ["success"] + [ending] * (N - 1)
        assert called == jobs[:-1]


def test_19_a_chain_before_the_run(pool):
    jobs = [pool.submit(give, n) for n in range(N)]
    for job, following in pairwise(jobs):
        job.on_completion(lambda job, following=following: following.cancel())
    jobs[0].cancel()
    assert statuses(*jobs) == ["cancelled"] * N


def test_19_callbacks_added_to_finished_jobs(pool):
    jobs = [pool.submit(give, n) for n in range(N)]
    called = []

    def callback(job):
        called.append(job)
        if len(called) < N:
            jobs[len(called)].cancel()
            jobs[len(called)].on_completion(callback)

    jobs[0].on_completion(callback)
    jobs[0].cancel()
    assert called == jobs


def test_19_two_pools_end_the_jobs_of_each_other():
    with create_job_pool(quiet=True) as one, create_job_pool(quiet=True) as other:
        jobs = [(one, other)[n % 2].submit(give, n) for n in range(N)]
        for job, following in pairwise(jobs):
            job.on_completion(lambda job, following=following: following.cancel())
        jobs[0].cancel()
        assert statuses(*jobs) == ["cancelled"] * N


def test_19_all_callbacks_are_called_and_the_first_error_is_raised(pool):
    jobs = [pool.submit(give, n) for n in range(N)]

    def then(n):
        def callback(job):
            if n + 1 < N:
                jobs[n + 1].cancel()
            raise ValueError(n)

        return callback

    for n, job in enumerate(jobs):
        job.on_completion(then(n))
    with pytest.raises(ValueError, match=r"^0$"):
        jobs[0].cancel()
    assert statuses(*jobs) == ["cancelled"] * N


def test_19_ctrl_c_ends_an_endless_chain(pool):
    called = []

    def callback(job):
        called.append(job)
        job.on_completion(callback)
        if len(called) == 5:
            signal.raise_signal(signal.SIGINT)

    job = pool.submit(give, 0)
    job.cancel("not needed")
    with pytest.raises(KeyboardInterrupt):
        job.on_completion(callback)
    assert len(called) == 5


def test_19_a_callback_of_a_finished_job_is_called_at_once(pool):
    called = []
    job = pool.submit(give, 1)
    pool.execute()
    job.on_completion(called.append)
    assert called == [job]


def test_19_a_dependent_of_many_jobs_fails_with_the_first(pool):
    jobs = [pool.submit(give, 0)]
    for n in range(50_000):
        jobs.append(pool.submit(give, n, deps=[jobs[-1]]))
    jobs[0].cancel()
    assert {job.status.value for job in jobs} == {"cancelled"}


@pytest.mark.parametrize("late", [False, True], ids=["given-before", "given-after-the-end"])
def test_19_each_callback_of_a_future_cancels_the_next_one(late):
    called = []
    with PoolExecutor() as executor:
        busy = executor.submit(wait)
        futures = [executor.submit(abs, n) for n in range(N)]

        def callback(future):
            called.append(future)
            if len(called) < N:
                following = futures[len(called)]
                if not late:
                    following.add_done_callback(callback)
                following.cancel()
                if late:
                    following.add_done_callback(callback)

        futures[0].add_done_callback(callback)
        futures[0].cancel()
        GATE.release()
        busy.result(30)
    assert called == futures
    assert all(future.cancelled() for future in futures)


def test_19_a_callback_of_a_future_may_wait_for_callbacks_of_others():
    """As `asyncio.run` does: a callback tells it that a future has ended."""
    with PoolExecutor() as executor:
        first, *others = [executor.submit(abs, -n) for n in range(4)]
        results = [future.result(30) for future in (first, *others)]
        seen = []

        async def wait_for_all():
            waiting = [asyncio.wrap_future(future) for future in others]
            return await asyncio.wait_for(asyncio.gather(*waiting), 30)

        first.add_done_callback(lambda _: seen.append(asyncio.run(wait_for_all())))
        assert seen == [results[1:]]


def test_19_each_callback_of_a_future_ends_the_next_one():
    """As integrations and other classes of futures do."""
    with PoolExecutor() as executor:
        futures = [PoolFuture(executor._get_backend()) for _ in range(N)]
        for future, following in pairwise(futures):
            future.add_done_callback(lambda _, following=following: following.set_result(1))
        futures[0].set_exception(ValueError("the first"))
        assert [future.result(0) for future in futures[1:]] == [1] * (N - 1)


def wait():
    GATE.acquire()
