"""Callables with state on ranks: each job gets its own copy with the current state."""

from __future__ import annotations

import functools
import itertools
import os
from typing import Any

import pytest

from bsbpool import create_job_pool, pool_cache, pool_cached_function
from bsbpool.futures import PoolExecutor
from helpers.callables import CHECKS, COUNTERS

from .support import MAIN

pytestmark = pytest.mark.mpi(min_size=2)
EVALUATIONS = itertools.count()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_in_an_executor(check) -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            check(executor)


class Table(dict[Any, Any]):
    """Methods of builtin types get the pool's owner, None here, as their first argument."""


def test_in_a_pool() -> None:
    table = Table({None: "value"})
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            counts = {
                name: [pool.submit(make()) for _ in range(3)] + [pool.submit(count) for _ in "12"]
                for name, make in COUNTERS.items()
                if name != "method of a list"  # takes no owner
                for count in [make()]
            }
            got = [pool.submit(table.get) for _ in range(5)]
            partial = [pool.submit(functools.partial(table.get)) for _ in range(2)]
        pool.execute()
        if MAIN:
            for name, jobs in counts.items():
                assert [job.result for job in jobs] == [1] * 5, name
            assert [job.result for job in got + partial] == ["value"] * 7


def test_a_pool_after_a_change_sees_it() -> None:
    table: dict[Any, Any] = {}
    for value in range(3):
        table[None] = value
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.submit(table.get) for _ in range(4)] if MAIN else []
            pool.execute()
            assert [job.result for job in jobs] == [value] * len(jobs)


def test_a_local_cached_function_is_evaluated_once_on_each_rank() -> None:
    factor = [1]

    @pool_cached_function
    def table() -> list[int]:
        return [factor[0], os.getpid(), next(EVALUATIONS)]

    def use(owner: Any) -> list[int]:
        return list(table())

    for factor[0] in (1, 2):  # the second pool sees what has changed
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.queue(use, (), cache_items=[table]) for _ in range(40)] if MAIN else []
            pool.execute()
            tables = {tuple(job.result) for job in jobs}
            assert len(tables) == len({pid for _, pid, _ in tables})
            assert {by for by, _, _ in tables} == ({factor[0]} if MAIN else set())


def test_a_cached_method_of_a_local_class_is_evaluated_once_on_each_rank() -> None:
    class Node:
        def get_node_name(self) -> str:
            return "node"

        @pool_cache
        def density(self) -> list[int]:
            return [os.getpid(), next(EVALUATIONS)]

    node = Node()
    other = Node  # the class is sent with each job; the node is the same

    with create_job_pool(quiet=True) as pool:
        jobs = []
        if MAIN:
            needed = [Node.density.get_pool_cache_id(node)]
            jobs = [
                pool.queue(lambda owner: kept_node(other).density(), (), cache_items=needed)
                for _ in range(40)
            ]
        pool.execute()
        kept = {tuple(job.result) for job in jobs}
        assert len(kept) == len({pid for pid, _ in kept})


NODES: dict[int, Any] = {}


def kept_node(kind: Any) -> Any:
    """Return the only node of a class on this rank."""
    return NODES.setdefault(id(kind), kind())
