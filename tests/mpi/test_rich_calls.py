"""Jobs with keywords, containers, arrays and partials: as in plain Python, each with own copies."""

from __future__ import annotations

import collections
import contextlib
import functools
from typing import Any

import numpy as np
import pytest

from bsbpool import create_job_pool
from bsbpool.futures import PoolExecutor
from bsbpool.process import running

from .support import MAIN, run

pytestmark = pytest.mark.mpi(min_size=2)


def call(owner: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Return the types and the order of what was passed."""
    return owner, args, list(kwargs.items())


def owner_second(first: Any, owner: Any, /, *args: Any, **kwargs: Any) -> Any:
    return first, owner, args, list(kwargs.items())


def change(owner: Any, *args: Any) -> Any:
    """Change the arguments and return them."""
    for arg in args:
        if isinstance(arg, list):
            arg.append("changed")
        elif isinstance(arg, dict):
            arg["changed"] = True
        else:
            arg += 1
    return args


def same(owner: Any, a: Any, b: Any, *, c: Any = None) -> tuple[bool, bool]:
    return a is b, a is c


def about(owner: Any, array: Any) -> Any:
    flags = array.flags
    return type(array).__name__, array.dtype.str, array.shape, flags.writeable, array.tolist()


def fail(owner: Any, **kwargs: Any) -> None:
    raise ValueError(f"no {kwargs}")


def test_keywords_keep_their_order_and_types() -> None:
    given = [
        {"x": 1, "mode": "b"}, {"mode": True, "x": 1.0}, {"b": None, "a": b"x"}, {"x": [1, {}]},
        {"x": collections.OrderedDict(a=1)}, {"ä": 1}, {"x": "ä"}, {f"k{i}": i for i in range(70)},
    ]  # fmt: skip
    results = run(lambda pool: [pool.queue(call, (1, "a"), kwargs) for kwargs in given])
    if MAIN:
        for result, kwargs in zip(results, given, strict=True):
            assert repr(result) == repr((None, (1, "a"), list(kwargs.items())))


def test_each_job_has_its_own_copy_as_it_was_when_it_was_sent() -> None:
    table: dict[str, Any] = {"a": 1}
    numbers, array = [1, 2], np.arange(3)
    results = run(lambda pool: [pool.submit(change, table, numbers, array) for _ in range(50)])
    if MAIN:
        assert (table, numbers, array.tolist()) == ({"a": 1}, [1, 2], [0, 1, 2])
        for changed in results:
            assert changed[0] == {"a": 1, "changed": True}
            assert changed[1] == [1, 2, "changed"]
            assert changed[2].tolist() == [1, 2, 3]


def test_an_object_that_is_passed_twice_is_one_object() -> None:
    one, table, array = [1], {"a": 1}, np.arange(3)
    results = run(
        lambda pool: [
            pool.queue(same, (value, value), kwargs)
            for value in (one, table, array)
            for kwargs in ({}, {"c": value}, {"c": [1]})
        ]
    )
    if MAIN:
        assert results == [(True, False), (True, True), (True, False)] * 3


def test_arrays_keep_type_shape_and_flags() -> None:
    fixed = np.arange(4.0)
    fixed.flags.writeable = False
    arrays = [
        fixed, np.arange(20.0), np.array(2.5), np.zeros((2, 0, 3)), np.arange(6, dtype=">i4"),
        np.arange(8, dtype="u1").reshape(2, 2, 2), np.array([True, False]), np.arange(6)[::2],
        np.arange(6).reshape(2, 3).T, np.array([1 + 2j]), np.array(["a"]), np.arange(500.0),
    ]  # fmt: skip
    results = run(lambda pool: [pool.submit(about, array) for array in arrays])
    if MAIN:
        for result, array in zip(results, arrays, strict=True):
            assert result == about(None, array)


@pytest.mark.parametrize("limited", [False, True], ids=["in memory", "with max_memory"])
def test_each_access_to_a_result_gives_a_new_copy(limited: bool) -> None:
    values = [{"a": [1]}, [1, {}], np.arange(5.0), ({"b": 2},), {"long": "x" * 200}]
    with create_job_pool(quiet=True, max_memory=0 if limited else None) as pool:
        jobs = [pool.submit(give, value) for value in values] if MAIN else []
        results = pool.execute(return_results=True)
        if MAIN:
            for job, value in zip(jobs, values, strict=True):
                assert repr(job.result) == repr(results[job]) == repr(value)
                assert job.result is not job.result
                assert results[job] is not job.result
            jobs[0].result["a"].append(2)
            assert jobs[0].result == {"a": [1]}
            assert results[jobs[0]] == {"a": [1]}


def give(owner: Any, value: Any) -> Any:
    return value


PARTIALS = [
    lambda: functools.partial(call, 1),
    lambda: functools.partial(call, 1, 2, x=3, y=4),
    lambda: functools.partial(call, x={"a": []}),
    lambda: functools.partial(owner_second, "first", *range(9)),
    lambda: functools.partial(functools.partial(call, 1, x=1), 2, x=2),
    lambda: functools.partial(call, call),
    lambda: functools.partial(call, "ä"),
    lambda: functools.partial(lambda *args: args, 5),
]


@pytest.mark.parametrize("make", PARTIALS)
@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((7, [8]), {"x": 9, "z": 0})])
def test_partials(make: Any, args: Any, kwargs: Any) -> None:
    if make is PARTIALS[-1]:
        kwargs = {}
    results = run(lambda pool: [pool.queue(make(), args, kwargs) for _ in range(3)])
    if MAIN:
        assert results == [make()(None, *args, **kwargs)] * 3


@contextlib.contextmanager
def context_of_job() -> Any:
    yield


@pytest.fixture
def job_contexts() -> Any:
    """Let workers run each job in a context, so that the loop does not call functions itself."""
    running.job_contexts.append(context_of_job)
    yield
    running.job_contexts.remove(context_of_job)


@pytest.mark.usefixtures("job_contexts")
def test_in_the_context_of_a_job() -> None:
    number = 3

    def closed(owner: Any, x: int = 1, *, y: int = 2) -> Any:
        return owner, number, x, y

    def fill(pool: Any) -> list[Any]:
        jobs = [pool.queue(make(), (7, [8]), {"x": 9}) for make in PARTIALS[:-1]]
        jobs += [pool.submit(closed), pool.submit(closed, 4, y=5), pool.submit(give, {"a": [1]})]
        return [*jobs, pool.queue(call, (1,), {"x": 2}), pool.submit(give, None)]

    results = run(fill)
    if MAIN:
        partials = [make()(None, 7, [8], x=9) for make in PARTIALS[:-1]]
        closures = [(None, 3, 1, 2), (None, 3, 4, 5)]
        assert results == [*partials, *closures, {"a": [1]}, (None, (1,), [("x", 2)]), None]


def test_partials_in_an_executor() -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            for make in PARTIALS[:-1]:
                future = executor.submit(make(), 7, z=1)
                assert future.result() == make()(7, z=1)


def test_a_partial_whose_state_changes_between_jobs() -> None:
    partial = functools.partial(call, [1])
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            first = pool.submit(partial)
            partial.args[0].append(2)
            second = pool.submit(partial)
        pool.execute()
        if MAIN:  # both are sent after the change
            assert first.result == second.result == partial(None)


def test_errors_of_such_jobs() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            jobs = [
                pool.queue(fail, (), {"x": 1}),
                pool.submit(functools.partial(fail, x=2)),
                pool.submit(functools.partial(call, 1, 2), **{"self": 3}),
                pool.submit(functools.partial(fail, 1), 2),
            ]
        with pytest.raises(ExceptionGroup):
            pool.execute()
        if MAIN:
            assert str(jobs[0].error) == "no {'x': 1}"
            assert str(jobs[1].error) == "no {'x': 2}"
            assert jobs[2].result == (1, (2, None), [("self", 3)])
            assert isinstance(jobs[3].error, TypeError)
