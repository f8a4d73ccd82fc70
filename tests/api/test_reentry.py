"""Calls that are not allowed during a run are refused, and the run continues."""

from __future__ import annotations

import threading

import pytest

from bsbpool import JobPoolContextError, JobPoolError, JobStatus, create_job_pool
from bsbpool.futures import PoolExecutor

from .support import give, statuses

PLACES = ["callback", "listener", "scheduler", "job", "thread"]


def call_from(place, pool, act):
    """Call `act` once at a place inside the run of a pool; return the error that it raised."""
    errors = []

    def call(*_):
        if not errors:
            errors.append(None)  # a listener is called again before this returns
            with pytest.raises(JobPoolContextError) as caught:
                act()
            errors[0] = caught.value

    def call_in_thread(*_):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    if place == "callback":
        pool.submit(give, 0).on_completion(call)
    elif place == "listener":
        pool.add_listener(lambda record: record.status is JobStatus.RUNNING and call())
    elif place == "scheduler":
        pool.schedule([None], call)
    elif place == "job":
        pool.submit(call)
    else:
        pool.submit(give, 0).on_completion(call_in_thread)
    return errors


@pytest.mark.parametrize("place", PLACES)
def test_18_execute_inside_the_run_is_refused_and_the_run_continues(pool, place):
    errors = call_from(place, pool, pool.execute)
    jobs = [pool.submit(give, n) for n in range(3)]
    results = pool.execute(return_results=True)
    assert [results[job] for job in jobs] == [0, 1, 2]
    assert "execut" in str(errors[0])


@pytest.mark.parametrize("place", PLACES)
def test_18_the_block_cannot_end_inside_the_run(place):
    with create_job_pool(quiet=True) as pool:
        errors = call_from(place, pool, lambda: pool.__exit__(None, None, None))
        jobs = [pool.submit(give, n) for n in range(3)]
        results = pool.execute(return_results=True)
        assert [results[job] for job in jobs] == [0, 1, 2]
        assert jobs[0].result == 0
    assert "block" in str(errors[0])


@pytest.mark.parametrize("place", PLACES)
def test_18_a_pool_that_executes_cannot_be_entered(pool, place):
    call_from(place, pool, pool.__enter__)
    job = pool.submit(give, 1)
    assert pool.execute(return_results=True)[job] == 1


def test_18_a_refused_call_changes_no_time_limit(pool):
    """If the refused call set its timeout of 0 s, the run would end."""
    call_from("callback", pool, lambda: pool.execute(timeout=0))
    jobs = [pool.submit(give, n) for n in range(3)]
    pool.execute(timeout=1000)
    assert statuses(*jobs) == ["success"] * 3


def test_18_an_error_that_leaves_the_block_inside_the_run_is_not_replaced(pool):
    error = KeyError("the program's own")
    pool.submit(lambda owner: pool.__exit__(KeyError, error, None))
    pool.execute()
    assert "cannot end" in error.__notes__[0]


def test_18_another_pool_may_be_executed_inside_the_run(pool):
    inner_results = []

    def use_another(job):
        with create_job_pool(quiet=True) as inner:
            inner.submit(give, 5).on_completion(lambda job: inner_results.append(job.result))
            inner.execute()

    pool.submit(give, 0).on_completion(use_another)
    last = pool.submit(give, 1)
    assert pool.execute(return_results=True)[last] == 1
    assert inner_results == [5]


def test_18_a_block_that_has_not_begun_or_has_ended_cannot_end():
    pool = create_job_pool(quiet=True)
    with pytest.raises(JobPoolContextError, match="has not begun"):
        pool.__exit__(None, None, None)
    with pool:
        pool.execute()
    with pytest.raises(JobPoolContextError, match="has already ended"):
        pool.__exit__(None, None, None)


def test_18_a_pool_that_takes_no_jobs_schedules_nothing():
    with create_job_pool(quiet=True) as pool:
        pool.execute()
        with pytest.raises(JobPoolError):
            pool.schedule([None], lambda node: None)


def test_18_a_scheduler_may_schedule_others_inside_the_run(pool):
    pool.schedule([1], lambda node: pool.schedule([2], lambda node: pool.submit(give, node)))
    results = pool.execute(return_results=True)
    assert list(results.values()) == [2]


GATE = threading.Semaphore(0)
ACTS = []


def wait():
    GATE.acquire()


def act_inside():
    """Call the function that the test stored here: a call gets copies of its arguments."""
    GATE.acquire()
    ACTS.pop()()


@pytest.mark.parametrize("place", ["call", "callback"])
@pytest.mark.parametrize("what", ["__exit__", "__enter__", "shutdown"])
def test_18_calls_and_callbacks_cannot_shut_down_their_executor(place, what):
    outcome = []

    def act(*_):
        try:
            getattr(executor, what)(*[None] * 3 if what == "__exit__" else ())
            outcome.append(None)
        except RuntimeError as error:
            outcome.append(error)

    executor = PoolExecutor()
    with executor:
        if place == "call":
            ACTS.append(act)
            executor.submit(act_inside)
        else:
            executor.submit(wait).add_done_callback(act)
        futures = [executor.submit(pow, n, 2) for n in range(3)]
        GATE.release()  # after all calls are submitted, since a shut-down executor accepts no more
        assert [future.result(30) for future in futures] == [0, 1, 4]
    assert len(outcome) == 1
    assert (outcome[0] is None) == (what == "shutdown")


def test_18_a_call_may_use_its_own_executor():
    def nested():
        with PoolExecutor() as inner:
            return inner.submit(pow, 2, 3).result(30)

    with PoolExecutor() as executor:
        assert executor.submit(nested).result(30) == 8
