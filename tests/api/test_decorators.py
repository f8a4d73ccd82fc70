"""Functions whose calls have options."""

from __future__ import annotations

import pickle

import pytest

import bsbpool
from bsbpool import JobStatus, UnmetDependency, WorkflowError, create_job_pool, services
from bsbpool.decorators import JobFunction

from .on_ranks import on_ranks


@bsbpool.job(name="the square", priority=3)
def square(owner, x):
    """Return the square."""
    return x * x


def never():
    raise UnmetDependency("no")


def always():
    pass


@bsbpool.requires(always)
@bsbpool.job(priority=1)
def checked(owner, x):
    return x


def test_a_direct_call_calls_the_function():
    assert square(None, 3) == 9
    assert square.__name__ == "square"
    assert square.__doc__ == "Return the square."
    assert "square" in repr(square)


def run_all_ways():
    @bsbpool.job(name="local")
    def local(owner, x):
        return -x

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            one = pool.submit(square, 2)
            two = pool.queue(square, (one,), tag=1)
            many = pool.queue_many(square, zip([1, 2]))
            other = pool.options(name="other").submit(square, 5)
            inside = pool.submit(local, 7)
            zero = pool.options(priority=0).submit(square, 1)
            called = pool.submit(lambda owner: square(owner, 6))
        pool.execute()
        if pool.is_main():
            assert [job.result for job in (one, two, *many, other)] == [4, 16, 1, 4, 25]
            assert [job.options.name for job in (one, two, *many, other)] == [
                "the square", "the square", "the square", "the square", "other",
            ]  # fmt: skip
            assert {job.options.priority for job in (one, *many, other)} == {3}
            assert (inside.result, inside.name) == (-7, "local")
            assert called.result == 36
            assert (zero.options.priority, zero.options.name) == (0, "the square")
            assert two.context == {"tag": 1}


def test_on_one_rank():
    run_all_ways()


@on_ranks(3)
def test_on_three_ranks():
    run_all_ways()


def test_they_are_combined():
    assert checked.options.requires == (always,)
    assert checked.options.priority == 1
    twice = bsbpool.requires(never)(checked)
    assert twice.options.requires == (never, always)
    again = bsbpool.job(priority=5)(twice)
    assert (again.options.priority, again.options.requires) == (5, (never, always))
    assert again.function is checked.function


def test_pickles():
    assert pickle.loads(pickle.dumps(square)) is square


def test_wrong_uses():
    with pytest.raises(TypeError, match=r"job\(\) got an unexpected option 'retry'"):
        bsbpool.job(retry=1)(print)
    with pytest.raises(TypeError, match=r"job\(\) decorates functions"):
        bsbpool.job()(3)
    with pytest.raises(TypeError, match=r"requires\(\) needs a function"):
        bsbpool.requires(3)


def test_defaults_of_the_pool():
    with create_job_pool(quiet=True, options={"name": "default", "retries": 4}) as pool:
        job = pool.submit(square, 2)
        pool.execute()
    assert (job.options.name, job.options.retries) == ("the square", 4)
    assert isinstance(square, JobFunction)


def only_on_the_last_rank():
    if services.MPI.get_rank() != services.MPI.get_size() - 1:
        raise UnmetDependency("not here")


def use_requirements():
    @bsbpool.requires(only_on_the_last_rank)
    def where(owner):
        return services.MPI.get_rank()

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = pool.queue_many(where, [()] * 20)
            nowhere = pool.options(requires=[never]).submit(where)
            elsewhere = pool.options(targets=[1]).submit(where)
            pool.add_listener(lambda record: True)
        pool.execute()
        if pool.is_main():
            last = services.MPI.get_size() - 1
            assert {job.result for job in jobs} == {last}
            assert all(
                [type(attempt.error) for attempt in job.attempts]
                == [UnmetDependency] * len(job.attempts)
                for job in jobs
            )
            for job in (nowhere, elsewhere):
                assert job.status is JobStatus.FAILED
                assert isinstance(job.error, UnmetDependency)
            assert len(nowhere.attempts) == last - 1
            assert elsewhere.attempts == ()


@on_ranks(3)
def test_a_job_goes_where_its_requirements_are_met():
    use_requirements()


@on_ranks(4)
def test_a_job_goes_where_its_requirements_are_met_on_more_ranks():
    use_requirements()


def test_unmet_requirements_fail_in_one_process(pool):
    job = pool.options(requires=[never]).submit(lambda owner: 1)
    other = pool.submit(checked, 5)
    with pytest.raises(WorkflowError):
        pool.execute()
    assert isinstance(job.error, UnmetDependency)
    assert other.result == 5


def test_the_options_of_a_function_rank_above_those_of_the_pool():
    with create_job_pool(quiet=True, options={"name": "default", "retries": 4}) as pool:
        job = pool.options(retries=1).submit(square, 2)
        other = pool.options(priority=0).submit(square, 2)
        pool.execute()
    assert (job.options.name, job.options.retries, job.options.priority) == ("the square", 1, 3)
    assert (other.options.retries, other.options.priority) == (4, 0)
