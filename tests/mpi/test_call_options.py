"""The options of calls of executors with several ranks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from numpy.random import SeedSequence, default_rng

from bsbpool.futures import PoolExecutor, backend_ranks
from helpers.call_options import CHECKS, draw, rank, square
from helpers.executors import LONG, nap

from .support import WORLD, pool_works

pytestmark = pytest.mark.mpi(min_size=2)


@pytest.mark.parametrize("jobs_a_pool", [backend_ranks.JOBS_PER_POOL, 10])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_calls_have_options(monkeypatch, check, jobs_a_pool) -> None:
    monkeypatch.setattr(backend_ranks, "JOBS_PER_POOL", jobs_a_pool)
    with PoolExecutor() as executor:
        if executor is not None:
            check(executor)
    pool_works()


def test_calls_run_on_their_targets() -> None:
    with PoolExecutor(timestamps=True) as executor:
        if executor is None:
            return
        for wanted in range(1, WORLD.size):
            view = executor.options(targets=[wanted])
            futures = [view.submit(rank) for _ in range(5)]
            assert {future.result(LONG) for future in futures} == {wanted}
            assert {future.metadata.rank for future in futures} == {wanted}
        assert executor.submit(square, 3).result(LONG) == 9
        with pytest.raises(ValueError, match="targets contains rank 99"):
            executor.options(targets=[99]).submit(rank).result(LONG)


def test_calls_follow_others_also_after_their_end() -> None:
    with PoolExecutor() as executor:
        if executor is None:
            return
        for n in range(20):
            first = executor.submit(rank)
            if n % 2:
                first.result(LONG)
            second = executor.options(follow=[first], deps=[first]).submit(rank)
            assert second.result(LONG) == first.result(LONG)


def test_resources_are_not_exceeded() -> None:
    with PoolExecutor(resources={"gpu": 1}, timestamps=True) as executor:
        if executor is None:
            return
        view = executor.options(resources={"gpu": 1})
        spans = [view.submit(nap, 0.02) for _ in range(6)]
        assert [future.result(LONG) for future in spans] == [0.02] * 6
        times = sorted((each.metadata.started, each.metadata.completed) for each in spans)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(times))


def test_random_numbers_do_not_depend_on_the_ranks() -> None:
    with PoolExecutor(seed=3) as executor:
        if executor is None:
            return
        futures = [executor.submit(draw) for _ in range(3)]
        streams = [SeedSequence(3, spawn_key=(n,)) for n in range(3)]
        expected = [default_rng(stream).random() for stream in streams]
        assert [future.result(LONG) for future in futures] == expected
