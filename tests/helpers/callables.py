"""Callables with state in an executor, however many processes it has: checks as `executors` has."""

from __future__ import annotations

import collections
import functools
import pickle
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from bsbpool import pool_cache, pool_cached_function
from bsbpool.futures import PoolExecutor
from helpers.executors import LONG, Check

CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Have it called by the tests."""
    CHECKS.append(function)
    return function


# What is called


class Counter:
    """Counts its calls."""

    def __init__(self, n: int = 0) -> None:
        self.n = n

    def count(self, *_: Any) -> int:
        self.n += 1
        return self.n

    __call__ = count

    def __hidden(self, *_: Any) -> int:
        return self.count()

    def hidden(self) -> Callable[..., int]:
        return self.__hidden


def closure() -> Callable[..., int]:
    n = 0

    def count(*_: Any) -> int:
        nonlocal n
        n += 1
        return n

    return count


def closure_over_a_list() -> Callable[..., int]:
    seen: list[Any] = []

    def count(*_: Any) -> int:
        seen.append(1)
        return len(seen)

    return count


def closure_over_an_array(size: int) -> Callable[..., int]:
    total = np.zeros(size)

    def count(*_: Any) -> int:
        total[0] += 1
        return int(total[0])

    return count


def with_default() -> Callable[..., int]:
    def count(*_: Any, seen: list[int] = []) -> int:  # noqa: B006
        seen.append(1)
        return len(seen)

    return count


def with_attribute() -> Callable[..., int]:
    def count(*_: Any) -> int:
        count.n += 1  # type: ignore[attr-defined]
        return int(count.n)  # type: ignore[attr-defined]

    count.n = 0  # type: ignore[attr-defined]
    return count


def pop(items: list[int], *_: Any) -> int:
    items.pop(0)
    return 4 - len(items)


COUNTERS: dict[str, Callable[[], Callable[..., int]]] = {
    "bound method": lambda: Counter().count,
    "private method": lambda: Counter().hidden(),
    "callable": Counter,
    "partial": lambda: functools.partial(pop, [1, 2, 3, 4]),
    "partial of a method": lambda: functools.partial(Counter().count),
    "closure": closure,
    "closure over a list": closure_over_a_list,
    "closure over a small array": lambda: closure_over_an_array(3),
    "closure over a large array": lambda: closure_over_an_array(100_000),
    "default": with_default,
    "attribute": with_attribute,
    "method of a list": lambda: functools.partial([1, 2, 3].pop, 0),
    "method of a generator": lambda: types.MethodType(pop, [1, 2, 3, 4]),
}
"""Callables that return 1 when they are called first, and then more."""


@check
def each_submitted_call_has_state_of_its_own(executor: PoolExecutor) -> None:
    for name, make in COUNTERS.items():
        count = make()
        futures = [executor.submit(count) for _ in range(5)]
        assert [future.result(LONG) for future in futures] == [1] * 5, name
        assert count() == 1, name  # nor do calls change what is here


@check
def each_call_of_a_map_has_state_of_its_own(executor: PoolExecutor) -> None:
    for name, make in COUNTERS.items():
        if name == "method of a list":
            continue  # takes no item
        for chunksize in (None, 1, 3, 20):
            counts = list(executor.map(make(), range(7), chunksize=chunksize))
            assert counts == [1] * 7, (name, chunksize)
        assert list(executor.starmap(make(), [(n,) for n in range(5)], chunksize=5)) == [1] * 5


@check
def a_later_call_of_a_builtin_s_method_sees_what_has_changed(executor: PoolExecutor) -> None:
    table: dict[Any, Any] = {1: "first"}
    numbers: set[Any] = {1, 2}
    line: collections.deque[Any] = collections.deque([1, 2])
    generator, numpy_generator = random.Random(5), np.random.default_rng(5)
    methods = [
        (table.get, 1), (table.__getitem__, 1), (numbers.__contains__, "third"), (line.popleft,),
        (generator.random,), (generator.randrange, 1000), (numpy_generator.random,),
        ("-".join, ["a", "b"]), (line.__len__,), ((5).__add__, 3), (len, [1]), (dict.fromkeys, "a"),
    ]  # fmt: skip
    for value in ("first", "second", "third"):
        table[1] = value
        numbers.add(value)
        line.appendleft(value)
        generator.random(), numpy_generator.random()
        for method, *args in methods:
            wanted = pickle.loads(pickle.dumps(method))(*args)
            futures = [executor.submit(method, *args) for _ in range(3)]
            assert [future.result(LONG) for future in futures] == [wanted] * 3, method
            if args:
                assert list(executor.map(method, args * 4, chunksize=4)) == [wanted] * 4, method


@check
def methods_of_a_list_do_not_share_it_in_a_chunk(executor: PoolExecutor) -> None:
    assert list(executor.map([5, 6, 7].pop, [0] * 5, chunksize=5)) == [5] * 5
    assert list(executor.map({1: 2}.pop, [1] * 5, [0] * 5, chunksize=5)) == [2] * 5


@check
def a_later_call_sees_what_has_changed_in_functions(executor: PoolExecutor) -> None:
    n = 0
    scale = {"by": 1}

    def by_value(x: int, options: dict[str, int] = scale) -> tuple[int, int]:
        return x * options["by"], n

    class Local:
        size = 0

        def __init__(self, *_: Any) -> None:
            self.seen = self.size

    for n in range(4):
        scale["by"] = n
        Local.size = n
        assert executor.submit(by_value, 2).result(LONG) == (2 * n, n)
        assert list(executor.map(by_value, [1, 1], chunksize=2)) == [(n, n)] * 2
        assert executor.submit(Local).result(LONG).seen == n
        assert [made.seen for made in executor.map(Local, range(3), chunksize=3)] == [n] * 3


@check
def read_only_arrays_are_shared_by_the_calls_of_a_chunk(executor: PoolExecutor) -> None:
    data = np.arange(50_000.0)
    data.flags.writeable = False

    def use(n: int) -> tuple[float, bool]:
        return float(data[n]), data.flags.writeable

    assert list(executor.map(use, range(5), chunksize=5)) == [(n, False) for n in range(5)]


@check
def plain_closures_and_partials_are_right_in_chunks(executor: PoolExecutor) -> None:
    factor, names = 3, ("a", "b")

    def times(x: int, y: int = 2) -> tuple[Any, ...]:
        return x * factor, names, y

    assert list(executor.map(times, range(6), chunksize=6)) == [
        (3 * n, names, 2) for n in range(6)
    ]
    assert list(executor.map(functools.partial(pow, 2), range(6), chunksize=6)) == [
        2**n for n in range(6)
    ]

    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert list(executor.map(factorial, range(6), chunksize=3)) == [1, 1, 2, 6, 24, 120]


# Caches


@check
def what_pool_cache_keeps_is_kept_for_functions_by_value(executor: PoolExecutor) -> None:
    factor = {"is": 1}

    @pool_cached_function
    def table(n: int) -> Any:
        return [object() for _ in range(n)], factor["is"]

    def use(n: int) -> tuple[int, int, int, int]:
        values, by = table(n)
        info = table.cache_info()
        return len(values), by, info.misses, info.currsize

    cached = executor.options(cache_items=[table])
    used = [future.result(LONG) for future in [cached.submit(use, 4) for _ in range(20)]]
    used += cached.map(use, [4] * 20, chunksize=5)
    assert {(size, by) for size, by, _, _ in used} == {(4, 1)}
    # Items go with the last of the calls that need them.
    assert max(currsize for _, _, _, currsize in used) == 1
    assert table.__name__ == "table" and table.pool_cache_id

    @functools.wraps(table)
    def around(n: int) -> int:
        return 10 * len(table(n)[0])

    assert executor.submit(around, 3).result(LONG) == 30


@check
def methods_of_local_classes_with_pool_cache_travel(executor: PoolExecutor) -> None:
    class Node:
        def __init__(self, name: str) -> None:
            self.name = name

        def get_node_name(self) -> str:
            return self.name

        @pool_cache
        def density(self, n: int) -> tuple[str, int]:
            return self.name, n

    node = Node("layer")
    assert executor.submit(node.density, 3).result(LONG) == ("layer", 3)
    assert list(executor.map(node.density, [1, 2])) == [("layer", 1), ("layer", 2)]
    assert int(Node.density.get_pool_cache_id(node)) > 0
