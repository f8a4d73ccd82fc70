"""A node that is an argument of jobs is evaluated once on each rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsbpool import create_job_pool, pool_cache
from bsbpool.futures import PoolExecutor

from .support import MAIN, WORKERS, WORLD

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]

evaluated: list[int] = []


class Layer:
    """A node with a large array, whose cached method returns another."""

    def __init__(self, name: str, scale: int) -> None:
        self.name, self.scale = name, scale
        self.weights = np.full(10_000, float(scale))

    def get_node_name(self) -> str:
        return self.name

    @pool_cache
    def density(self, factor: int = 1) -> Any:
        evaluated.append(self.scale)
        return self.weights * factor


@pytest.fixture(autouse=True)
def empty() -> Any:
    Layer.density.cache_clear()
    evaluated.clear()
    yield
    Layer.density.cache_clear()


def use(owner: Any, layer: Layer) -> tuple[int, float, int, int]:
    """Return the rank, the result, the number of evaluations here, and the cached items."""
    time.sleep(0.002)
    value = float(layer.density()[-1])
    return WORLD.rank, value, evaluated.count(layer.scale), Layer.density.cache_info().currsize


def call(layer: Layer) -> tuple[int, float, int, int]:
    return use(None, layer)


def look(owner: Any) -> int:
    return int(Layer.density.cache_info().currsize)


def test_a_node_as_an_argument_is_evaluated_once_per_rank_and_freed() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            node = Layer("layer", 3)
            users = [pool.queue(use, (node,), cache_items=[node]) for _ in range(40)]
            after = [pool.submit(look, deps=users) for _ in range(20 * len(WORKERS))]
        results = pool.execute(return_results=True)
        if MAIN:
            assert {results[job][1:] for job in users} == {(3.0, 1, 1)}
            assert {results[job] for job in after} == {0}
    assert len(evaluated) <= 1
    assert Layer.density.cache_info().currsize == 0


def test_other_nodes_of_the_same_name_have_their_own_results() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            nodes = [Layer("layer", scale) for scale in (1, 2)]
            users = [pool.queue(use, (nodes[n % 2],), cache_items=nodes) for n in range(40)]
        results = pool.execute(return_results=True)
        if MAIN:
            outcomes = [results[job] for job in users]
            assert [value for _, value, _, _ in outcomes] == [1.0, 2.0] * 20
            assert {times for _, _, times, _ in outcomes} == {1}
    assert Layer.density.cache_info().currsize == 0


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.001)


def test_calls_of_an_executor_share_results_as_well(tmp_path: Path) -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            node = Layer("layer", 5)
            # No call ends and frees the item before the last one is submitted.
            gate = executor.submit(wait_for, tmp_path / "all submitted")
            users = executor.options(cache_items=[node], deps=[gate])
            futures = [users.submit(call, node) for _ in range(40)]
            (tmp_path / "all submitted").touch()
            assert {future.result()[1:] for future in futures} == {(5.0, 1, 1)}
            assert all(found[1] == 5.0 for found in executor.map(call, [node] * 40))
    assert Layer.density.cache_info().currsize == 0
