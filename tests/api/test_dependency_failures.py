"""The error of a job that a failed dependency cancelled names the failed job and its error."""

from __future__ import annotations

import traceback
from concurrent.futures import Future

import pytest

from bsbpool import JobCancelledError, WorkflowError, create_job_pool
from bsbpool.futures import PoolExecutor
from bsbpool.futures.errors import dependency_error

from .support import fail, nothing

MESSAGE = "Job killed for dependency failure"


@pytest.fixture
def pool():
    with create_job_pool(quiet=True) as pool:
        yield pool


def executed(pool):
    with pytest.raises(WorkflowError):
        pool.execute()


def check(error, cause, *words):
    assert type(error) is JobCancelledError
    assert str(error) == MESSAGE
    assert error.__cause__ is cause
    printed = "".join(traceback.format_exception(error))
    assert all(word in printed for word in words), printed


def test_the_error_of_a_dependent_names_the_failed_job_and_has_its_error_as_cause(pool):
    bad = pool.submit(fail, "because")
    after = pool.submit(nothing, deps=[bad])
    executed(pool)
    check(after.error, bad.error, "job 0", "fail", "which failed", "ValueError: because")
    assert after.error is after.error


def test_the_first_failed_job_is_named_through_a_chain_of_dependents(pool):
    bad = pool.submit(fail)
    jobs = [bad]
    for _ in range(3_000):
        jobs.append(pool.submit(nothing, deps=[jobs[-1]]))
    executed(pool)
    check(jobs[-1].error, bad.error, "job 0")
    for job in jobs[1:]:  # in any order of access
        assert job.error.__cause__ is bad.error
        assert len(job.error.__notes__) == 1


def test_one_of_many_shared_dependencies_is_named(pool):
    deps = [pool.submit(fail if n in (5, 7) else nothing) for n in range(300)]
    afters = [pool.submit(nothing, deps=deps) for _ in range(300)]
    last = pool.submit(nothing, deps=tuple(afters))
    executed(pool)
    for job in (*afters, last):
        check(job.error, deps[5].error, "job 5")


def test_a_dependency_that_was_cancelled_is_named_with_its_reason(pool):
    first = pool.submit(nothing)
    after = pool.submit(nothing, deps=[first])
    first.cancel("not needed")
    pool.execute()
    check(after.error, first.error, "job 0", "which was cancelled", "not needed")


def test_a_job_queued_after_the_failure_names_it_as_well(pool):
    later = []
    bad = pool.submit(fail)
    pool.submit(lambda owner: later.append(pool.submit(nothing, deps=[bad])))
    executed(pool)
    check(later[0].error, bad.error, "job 0")


def test_the_errors_are_available_after_the_pool():
    with create_job_pool(quiet=True) as pool:
        bad = pool.submit(fail)
        between = pool.submit(nothing, deps=[bad])
        after = pool.submit(nothing, deps=[between])
        executed(pool)
    check(after.error, bad.error, "job 0", "which failed")


def test_a_future_with_a_failed_dependency_has_its_error_as_cause():
    with PoolExecutor() as executor:
        bad = executor.submit(int, "x")
        after = executor.options(deps=[bad]).submit(int)
        last = executor.options(deps=[after]).submit(int)
        for future in (after, last):
            check(future.exception(), bad.exception(), "It depends on", "int", "which failed")


def test_a_future_with_a_cancelled_dependency_has_the_reason():
    future = Future()
    assert dependency_error(future.cancel() and future).__notes__ == [
        "It depends on a call, which was cancelled."
    ]
