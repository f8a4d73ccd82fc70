"""Calls that are probably mistakes warn or raise at the call."""

from __future__ import annotations

import pickle
import warnings
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from bsbpool import JobPool, JobPoolError, JobStatus, create_job_pool
from bsbpool.function_job import FunctionJob
from bsbpool.futures import PoolExecutor
from bsbpool.integrations.mpipool import MPIExecutor
from bsbpool.integrations.schwimmbad import choose_pool
from bsbpool.services.mpi import MPIService

from .support import give, nothing

# ------------------------------------------------------------------ keywords

MEANT = {
    "deps": "dep depends dependencies depends_on Deps deps_ dpes",
    "cache_items": "cache_item cached_items cacheitems cache_itmes",
    "args": "arg arguments agrs ARGS",
    "kwargs": "kwarg kwrags keywords",
    "submitter": "submiter sumbitter label",
}
CONTEXT = "uri node chunk submitted time tags steps flags stage kind names depth description until"


@pytest.mark.parametrize(
    ("keyword", "meant"), [(word, name) for name, words in MEANT.items() for word in words.split()]
)
def test_24_a_keyword_that_looks_like_a_misspelt_parameter_warns(pool, keyword, meant):
    with pytest.warns(UserWarning, match=rf"'{keyword}' .* mean {meant}=\?") as warned:
        job = pool.queue(nothing, **{keyword: 1})
    assert [warning.filename for warning in warned] == [__file__]
    assert job.context == {keyword: 1}  # it remains part of the context


@pytest.mark.parametrize("keyword", CONTEXT.split())
def test_24_other_keywords_are_context(pool, keyword):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jobs = [pool.queue(nothing, submitter=pool, **{keyword: [1]})]
        jobs += pool.queue_many(nothing, [()], cache_items=[], deps=jobs, **{keyword: [1]})
    assert [keyword in job.description for job in jobs] == [True, True]


def test_24_one_warning_for_each_line_that_queues(pool):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        for _ in range(3):
            pool.queue(nothing, dependencies=[])
            pool.queue_many(nothing, [()] * 3, dependencies=[])
    assert len(warned) == 2


@pytest.mark.filterwarnings("error")
def test_24_user_defined_jobs_and_an_overridden_put_warn_as_well(pool):
    with pytest.raises(UserWarning, match="deps="):
        FunctionJob(pool, nothing, (), {}, dependencies=[])

    class Own(JobPool):
        def put(self, job):
            return super().put(job)

    with Own(1, None) as own:
        with pytest.raises(UserWarning, match="deps="):
            own.queue(nothing, depends=[])
        assert own.jobs == []


# ------------------------------------------------------------------ jobs and futures as arguments


def futures():
    """Return futures of this package and of the standard library."""
    with PoolExecutor() as executor, ThreadPoolExecutor(1) as threads:
        return [executor.submit(abs, -1), threads.submit(abs, -1), Future()]


SHAPES = [
    lambda x: ((x,), {}),
    lambda x: ((1, "two", [x]), {}),
    lambda x: ((), {"x": {"y": x}}),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", range(3))
def test_25_a_future_as_an_argument_of_a_job_is_refused_at_the_call(pool, number, shape):
    args, kwargs = shape(futures()[number])
    for queue in (
        lambda: pool.submit(nothing, *args, **kwargs),
        lambda: pool.queue(nothing, args, kwargs),
        lambda: pool.queue_many(nothing, [args], kwargs),
        lambda: pool.put(FunctionJob(pool, nothing, args, kwargs)),
        lambda: pool.options(priority=1).submit(nothing, *args, **kwargs),
    ):
        with pytest.raises(TypeError, match=r"is or contains .*[Ff]uture.* pass future.result\(\)"):
            queue()
    assert pool.jobs == []


@pytest.mark.parametrize("shape", SHAPES)
def test_25_an_executor_refuses_jobs_and_futures_of_others(pool, shape):
    others = [pool.submit(give, 1), *futures()[1:]]
    with PoolExecutor() as executor:
        for other in others:
            args, kwargs = shape(other)
            for view in (executor, executor.options(name="a view")):
                with pytest.raises(TypeError, match=r"is or contains .* pass its result"):
                    view.submit(nothing, *args, **kwargs)
        assert executor.submit(pow, 2, 3).result(30) == 8


def test_25_a_job_of_another_pool_is_refused(pool):
    with create_job_pool(quiet=True) as other, pytest.raises(JobPoolError, match="not in this po"):
        pool.submit(nothing, [other.submit(give, 1)])
    assert pool.jobs == []


def test_25_elsewhere_they_cannot_be_pickled(pool):
    for reference in (pool.submit(give, 1), Wrapped(futures()[0])):
        with pytest.raises(TypeError, match="cannot be pickled here"):
            pickle.dumps([[[reference]]])


class Wrapped:
    def __init__(self, inside):
        self.inside = inside


def test_25_the_error_of_an_item_of_a_map_is_raised_at_its_position():
    with PoolExecutor() as executor:
        for future in futures():
            results = executor.map(give, [1, 2], [3, future])
            assert next(results) == 3
            with pytest.raises(TypeError, match="future"):
                next(results)


def test_25_other_arguments_are_accepted(pool):
    values = [[], (), {}, [[]], np.zeros(3), pool, object(), {1: 2}, "x", None, range(3), {0}]
    jobs = [pool.submit(give, value) for value in values]
    results = pool.execute(return_results=True)
    assert all(results[job] is value for job, value in zip(jobs, values, strict=True))


# ------------------------------------------------------------------ owners, flags, forgotten jobs


@pytest.mark.parametrize("owner", [4, 4.0, np.int64(2), MPIService()], ids=repr)
def test_29_a_communicator_given_as_the_owner_warns(owner):
    with (
        pytest.warns(UserWarning, match="comm=") as warned,
        create_job_pool(owner, quiet=True) as p,
    ):
        job = p.submit(lambda own: own is owner)
        assert p.execute(return_results=True) == {job: True}
    assert warned[0].filename == __file__


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("owner", [None, "text", object(), [1], np.zeros(2)], ids=type)
def test_29_other_owners_do_not_warn(owner):
    create_job_pool(owner, quiet=True)


def test_29_a_block_that_ends_with_jobs_that_did_not_run_warns():
    with pytest.warns(RuntimeWarning, match="2 queued jobs did not run") as warned:  # noqa: SIM117
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.submit(nothing) for _ in range(3)]
            jobs[0].cancel()
    assert warned[0].filename == __file__
    assert pool.id is None
    with pytest.warns(RuntimeWarning, match="so 1 queued job did not"), JobPool(1, None) as pool:
        pool.submit(nothing)


@pytest.mark.filterwarnings("error")
def test_29_a_block_without_such_jobs_or_with_an_error_does_not_warn():
    with create_job_pool(quiet=True):
        pass
    with create_job_pool(quiet=True) as pool:
        pool.submit(nothing)
        pool.execute()
    with create_job_pool(quiet=True) as pool:
        pool.submit(nothing).run()
    with pytest.raises(KeyError), create_job_pool(quiet=True) as pool:
        pool.submit(nothing)
        raise KeyError
    with pytest.raises(RuntimeWarning), create_job_pool(quiet=True) as pool:
        pool.submit(nothing)
    assert pool.id is None  # the block has ended nevertheless


def with_executor(use):
    def check(value):
        with PoolExecutor() as executor:
            use(executor, value)

    return check


FLAGS = {
    "fail_fast": lambda value: create_job_pool(quiet=True, fail_fast=value),
    "fail_fast of JobPool": lambda value: JobPool(7, None, value),
    "quiet": lambda value: create_job_pool(quiet=value),
    "return_results": lambda value: JobPool(7, None).execute(value),
    "unordered": with_executor(lambda executor, value: executor.map(abs, [1], unordered=value)),
    "unordered of starmap": with_executor(
        lambda executor, value: executor.starmap(abs, [(1,)], unordered=value)
    ),
    "wait": with_executor(lambda executor, value: executor.shutdown(wait=value)),
    "cancel_futures": with_executor(lambda ex, value: ex.shutdown(cancel_futures=value)),
    "cancel_futures of a view": with_executor(
        lambda executor, value: executor.options(name="x").shutdown(cancel_futures=value)
    ),
    "rejoin": lambda value: MPIExecutor(rejoin=value),
    "mpi": lambda value: choose_pool(mpi=value),
}


@pytest.mark.parametrize("value", ["no", "", "False", 2, 0.0, [], object()], ids=repr)
@pytest.mark.parametrize("name", FLAGS)
def test_29_flags_must_be_true_or_false(name, value):
    with pytest.raises(TypeError, match=rf"^{name.split()[0]} must be True or False, got "):
        FLAGS[name](value)


@pytest.mark.parametrize("value", [True, 1, np.True_, False, 0, np.False_], ids=repr)
def test_29_flags_may_be_numpy_booleans_or_0_and_1(value):
    with create_job_pool(quiet=True, fail_fast=value) as pool:
        pool.submit(nothing)
        results = pool.execute(return_results=value)
    assert (results is None) == (not value)


def test_29_fail_fast_none_means_false_as_in_bsb():
    with JobPool(7, None, fail_fast=None) as pool:
        bad, good = pool.submit(lambda owner: 1 / 0), pool.submit(nothing)
        with pytest.raises(ExceptionGroup):
            pool.execute()
        assert (bad.status, good.status) == (JobStatus.FAILED, JobStatus.SUCCESS)
