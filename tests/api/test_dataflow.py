"""Jobs and futures as arguments: the functions get their results."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbpool import (
    Job,
    JobCancelledError,
    JobStatus,
    PoolExecutor,
    SubmissionContext,
    WorkflowError,
    create_job_pool,
)

from .on_ranks import on_ranks
from .support import give

LARGE = 20_000
"""Elements of an array that is sent as a buffer of its own."""


@dataclasses.dataclass(frozen=True)
class Box:
    inside: Any
    other: int = 2


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Reference:
    """Stands for the job with a number until the jobs exist."""

    number: int


def containers(inside):
    return st.one_of(
        st.lists(inside, max_size=3),
        st.tuples(inside, inside),
        st.builds(Pair, inside, inside),
        st.dictionaries(st.text(max_size=2), inside, max_size=3),
        st.builds(Box, inside),
    )


LEAVES = st.one_of(st.integers(), st.none(), st.text(max_size=3), st.builds(Reference, st.just(0)))
VALUES = st.recursive(LEAVES, containers, max_leaves=8)


def replaced(value, make):
    """Replace each `Reference`, in a plain way that shares nothing with the pool's."""
    if isinstance(value, Reference):
        return make(value)
    if isinstance(value, Pair):
        return Pair(*(replaced(item, make) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(item, make) for item in value)
    if isinstance(value, dict):
        return {key: replaced(item, make) for key, item in value.items()}
    return Box(replaced(value.inside, make)) if isinstance(value, Box) else value


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_any_arrangement(values):
    with create_job_pool(quiet=True) as pool:
        first = pool.submit(give, "the result")
        jobs = [pool.submit(give, replaced(value, lambda _: first)) for value in values]
        pool.execute()
        for job, value in zip(jobs, values, strict=True):
            assert job.result == replaced(value, lambda _: "the result")


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_any_arrangement_of_futures(values):
    with PoolExecutor() as executor:
        first = executor.submit(str, "the result")
        futures = [executor.submit(same, replaced(value, lambda _: first)) for value in values]
        for future, value in zip(futures, values, strict=True):
            assert future.result(30) == replaced(value, lambda _: "the result")


def same(value):
    return value


def add(owner, *numbers):
    return sum(numbers)


def total(owner, array, *, plus=0):
    return float(array.sum() + plus)


def make(owner, n):
    return np.ones(n)


def fail(owner, *args):
    raise ValueError("no")


class Own(Job):
    @staticmethod
    def execute(job_owner, args, kwargs):
        return sum(args[0]) + kwargs.get("plus", 0)


def run_everything():
    """Run a graph of all ways to pass a job."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            one, two = pool.submit(add, 1), pool.queue(add, (1, 1))
            three = pool.submit(add, one, two)
            many = pool.queue_many(add, [(three, i) for i in range(3)])
            listed = pool.submit(lambda owner, values: values, many)
            large = pool.submit(make, LARGE)
            sums = [pool.submit(total, large, plus=three) for _ in range(3)]
            chain = one
            for _ in range(20):
                chain = pool.submit(add, chain, 1)
            own = pool.put(Own(pool, SubmissionContext("own"), ([one, three],), {"plus": chain}))
            named = pool.options(name="sum").submit(add, three, own)
            shared = pool.submit(lambda owner, a, b: a is b, [large], [large])
        pool.execute()
        if pool.is_main():
            assert listed.result == [3, 4, 5]
            assert [job.result for job in sums] == [LARGE + 3] * 3
            assert chain.result == 21
            assert own.result == 1 + 3 + 21
            assert named.result == 3 + own.result
            assert large.result.sum() == LARGE
            assert shared.result is False


def run_failures():
    """A failure cancels the jobs that have the job among their arguments."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            bad = pool.submit(fail)
            after = pool.submit(add, bad, 1)
            last = pool.submit(give, {"x": [after]})
            good = pool.submit(give, 3)
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        if pool.is_main():
            assert len(raised.value.exceptions) == 1
            assert [job.status for job in (after, last)] == [JobStatus.CANCELLED] * 2
            assert isinstance(last.error, JobCancelledError)
            assert "fail()" in last.error.__notes__[0]
            assert good.result == 3


def run_executor():
    """Futures among arguments, of calls that end before and after the submission."""
    with PoolExecutor() as executor:
        if executor is None:
            return
        ended = executor.submit(pow, 2, 3)
        ended.result(30)
        chain = ended
        for _ in range(30):
            chain = executor.submit(int.__add__, chain, 1)
        large = executor.submit(np.ones, LARGE)
        both = executor.submit(sum, [chain, ended])
        assert both.result(30) == 38 + 8
        assert executor.options(name="x").submit(np.sum, large).result(30) == LARGE
        bad = executor.submit(pow, "a", 2)
        with pytest.raises(JobCancelledError):
            executor.submit(pow, bad, 2).result(30)
        bad.exception(30)
        with pytest.raises(JobCancelledError):
            executor.submit(pow, [bad], 2).result(30)


def test_serial():
    run_everything()
    run_failures()
    run_executor()


@on_ranks(2)
def test_on_two_ranks():
    run_everything()
    run_failures()
    run_executor()


@on_ranks(4)
def test_on_four_ranks():
    run_everything()
    run_failures()
    run_executor()


def test_a_list_that_grows_after_the_call(pool):
    """Only the jobs that were in it when the call was queued are dependencies."""
    first = pool.submit(give, 1)
    values = [first]
    job = pool.submit(lambda owner, given: [isinstance(item, Job) for item in given], values)
    values.append(pool.submit(give, 2))
    pool.execute()
    assert job.result == [False, True]


def test_containers_inside_of_each_other_up_to_the_stated_depth(pool):
    def nested(value, depth):
        return value if depth == 0 else [nested(value, depth - 1)]

    first = pool.submit(give, 1)
    inside = pool.submit(give, nested(first, 8))
    deeper = pool.submit(give, nested(first, 9))
    pool.execute()
    assert inside.result == nested(1, 8)
    assert deeper.result == nested(first, 9)
    assert deeper._deps is None


def test_wide_and_cyclic_containers_are_searched_in_linear_time(pool):
    wide = [0] * 30
    for _ in range(8):
        wide = [wide] * 30
    cyclic = [[], {}]
    cyclic[0] = [cyclic] * 30
    cyclic[1]["x"] = [cyclic] * 30
    job = pool.submit(lambda owner, a, b: 1, wide, cyclic)
    pool.execute()
    assert job.result == 1


def test_jobs_with_options_are_searched_to_the_same_depth(pool):
    def nested(value, depth):
        return value if depth == 0 else [nested(value, depth - 1)]

    first = pool.submit(give, 1)
    job = pool.options(name="named").submit(give, nested(first, 8))
    pool.execute()
    assert job.result == nested(1, 8)


def test_only_the_fields_of_a_dataclass_are_searched(pool):
    @dataclasses.dataclass
    class Registered:
        field: Any
        jobs: ClassVar[list[Any]] = []

    other = pool.submit(give, 1)
    Registered.jobs.append(other)
    job = pool.submit(give, Registered(2))
    assert job._deps is None
    pool.execute()
    assert job.result.jobs is Registered.jobs
