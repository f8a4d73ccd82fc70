"""Callables with state on ranks: each job gets a copy of its own, with the present state."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from bsbpool import create_job_pool
from bsbpool.futures import PoolExecutor
from helpers.callables import CHECKS, COUNTERS

from .support import MAIN

pytestmark = pytest.mark.mpi(min_size=2)


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
