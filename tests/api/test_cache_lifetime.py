"""A cached item exists while a job needs it; it is freed once, after the last such job."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import bsbpool.services.pool as names
from bsbpool import WorkflowError, create_job_pool, pool_cache, pool_cached_function

from .support import Node, cpu_limit, fail, nothing

TWINS = ("plumless", "buckeroo")
"""Two strings with the same CRC-32."""


class Layer(Node):
    """A node with a cached method."""

    def __init__(self, name="layer", scaffold=None):
        super().__init__(name)
        self.evaluated = 0
        if scaffold is not None:
            self.scaffold = scaffold

    @pool_cache
    def density(self):
        self.evaluated += 1
        return object()


class Scaffold:
    """An owner that keeps the items itself, as BSB's does, and records which it removes."""

    def __init__(self):
        self._pool_cache = {}
        self.cleaned = []

    def register_pool_cached_item(self, id, cleanup):
        self._pool_cache.setdefault(id, []).append(lambda: self.cleaned.append(int(id)))
        self._pool_cache[id].append(cleanup)


def use(owner, layer):
    layer.density()
    return kept()


def kept(owner=None):
    return Layer.density.cache_info().currsize


@pytest.fixture(autouse=True)
def empty_cache():
    Layer.density.cache_clear()
    yield
    Layer.density.cache_clear()


@pytest.fixture(params=["owner", "pool"])
def pool(request):
    """A pool whose owner keeps the items, and a pool that keeps them itself."""
    owner = Scaffold() if request.param == "owner" else None
    with create_job_pool(owner, quiet=True) as pool:
        yield pool


def run(pool):
    return list(pool.execute(return_results=True).values())


class TestFreed:
    def test_after_the_last_job_that_needs_it(self, pool):
        layer = Layer()
        for _ in range(3):
            pool.queue(use, (layer,), cache_items=[layer])
            pool.submit(kept)
        assert run(pool) == [1, 1, 1, 1, 1, 0]
        assert layer.evaluated == 1

    def test_separately_for_each_node(self, pool):
        one, other = Layer("one"), Layer("other")
        for layer in (one, other, one):
            pool.queue(use, (layer,), cache_items=[layer])
            pool.submit(kept)
        assert run(pool) == [1, 1, 2, 1, 1, 0]
        assert (one.evaluated, other.evaluated) == (1, 1)

    def test_separately_for_nodes_whose_names_collide(self, pool):
        one, other = map(Layer, TWINS)
        for layer in (one, other, one):
            pool.queue(use, (layer,), cache_items=[layer])
            pool.submit(kept)
        assert run(pool) == [1, 1, 2, 1, 1, 0]
        assert (one.evaluated, other.evaluated) == (1, 1)

    def test_after_the_last_job_failed(self, pool):
        layer = Layer()
        pool.queue(use, (layer,), cache_items=[layer])
        pool.queue(fail, cache_items=[layer])
        last = pool.submit(kept)
        with pytest.raises(WorkflowError):
            pool.execute()
        assert last.result == 0

    def test_after_the_last_job_was_cancelled(self, pool):
        layer = Layer()
        pool.queue(use, (layer,), cache_items=[layer])
        pool.submit(lambda owner: last.cancel())
        last = pool.queue(nothing, cache_items=[layer])
        pool.submit(kept)
        assert run(pool)[-1] == 0

    def test_after_a_last_job_that_was_queued_during_the_run(self, pool):
        layer = Layer()

        def spread(owner, n):
            if n:
                pool.queue(spread, (n - 1,), cache_items=[layer])
            return use(owner, layer)

        pool.queue(spread, (3,), cache_items=[layer])
        assert run(pool) == [1, 1, 1, 1]
        assert layer.evaluated == 1

    def test_an_item_that_is_needed_again_is_evaluated_again(self, pool):
        layer = Layer()

        def again(owner):
            pool.queue(use, (layer,), cache_items=[layer])
            return kept()

        pool.queue(use, (layer,), cache_items=[layer])
        pool.submit(again)
        assert run(pool) == [1, 0, 1]
        assert layer.evaluated == 2

    def test_an_undeclared_item_is_freed_with_the_run(self, pool):
        pool.submit(use, Layer())  # no job declared that it needs the item
        pool.execute()
        assert kept() == 0

    def test_items_are_freed_with_a_failed_run(self, pool):
        def interrupted(owner):
            raise KeyboardInterrupt

        layer = Layer()
        pool.queue(use, (layer,), cache_items=[layer])
        pool.submit(interrupted)
        pool.queue(nothing, cache_items=[layer])
        with pytest.raises(KeyboardInterrupt):
            pool.execute()
        assert kept() == 0

    def test_item_of_a_function(self, pool):
        @pool_cached_function
        def table(n):
            return list(range(n))

        def look(owner):
            table(3)
            return table.cache_info().currsize

        for _ in range(2):
            pool.queue(look, cache_items=[table])
        pool.submit(lambda owner: table.cache_info().currsize)
        assert run(pool) == [1, 1, 0]
        assert table.cache_info().misses == 1

    def test_item_given_by_its_number(self, pool):
        layer = Layer()
        for _ in range(2):
            pool.queue(use, (layer,), cache_items=[zlib.crc32(b"layer.density")])
        pool.submit(kept)
        assert run(pool) == [1, 1, 0]
        assert layer.evaluated == 1


class TestOwners:
    def test_are_called_once_per_item_in_the_order_of_the_last_uses(self):
        scaffold = Scaffold()
        layers = [Layer(name, scaffold) for name in "abc"]
        with create_job_pool(scaffold, quiet=True) as pool:
            for layer in [*layers, *reversed(layers)]:
                pool.queue(use, (layer,), cache_items=[layer])
            pool.execute()
        assert scaffold.cleaned == [zlib.crc32(f"{name}.density".encode()) for name in "cba"]
        assert scaffold._pool_cache == {}

    def test_owners_of_nodes_of_another_scaffold_are_called(self):
        scaffold = Scaffold()
        layer = Layer("layer", scaffold)
        with create_job_pool(quiet=True) as pool:
            pool.queue(use, (layer,), cache_items=[layer])
            pool.execute()
        assert list(scaffold._pool_cache) == [zlib.crc32(b"layer.density")]


class TestNumbers:
    def test_one_hundred_thousand_items(self):
        scaffold = Scaffold()
        n = 100_000

        def register(owner, start):
            for id in range(start, start + 1_000):
                owner.register_pool_cached_item(id, lambda: None)
            return len(owner._pool_cache)

        with create_job_pool(scaffold, quiet=True) as pool, cpu_limit(10.0):
            for start in range(1, n, 1_000):
                pool.queue(register, (start,), cache_items=range(start, start + 1_000))
            assert run(pool) == [1_000] * 100
        assert sorted(scaffold.cleaned) == list(range(1, n + 1))

    def test_one_item_for_many_jobs(self):
        layer = Layer()
        with create_job_pool(quiet=True) as pool, cpu_limit(2.0):
            for _ in range(5_000):
                pool.queue(use, (layer,), cache_items=[layer])
            assert set(run(pool)) == {1}
        assert layer.evaluated == 1


class TestBsbNames:
    def test_required_items_shrink_as_jobs_end(self, bsb_pool):
        one, other = Layer("one"), Layer("other")
        ids = [zlib.crc32(b"one.density"), zlib.crc32(b"other.density")]
        bsb_pool.queue(lambda owner: bsb_pool.get_required_cache_items(), cache_items=[one])
        read = bsb_pool._read_required_cache_items
        bsb_pool.queue(lambda owner: set(read()), cache_items=[other])
        assert bsb_pool.get_required_cache_items() == set(ids)
        assert run(bsb_pool) == [set(ids), {ids[1]}]
        assert bsb_pool.get_required_cache_items() == set()

    def test_the_window_shows_the_required_items(self, bsb_pool):
        layer = Layer()
        bsb_pool.queue(nothing, cache_items=[layer])
        buffer = bsb_pool._cache_buffer
        assert (buffer.shape, buffer.dtype) == ((1000,), np.uint64)
        bsb_pool._cache_window.Lock(0)
        bsb_pool._cache_window.Get([buffer, "UINT64_T"], 0)
        bsb_pool._cache_window.Unlock(0)
        assert set(buffer) == {zlib.crc32(b"layer.density"), 0}

    def test_a_patched_free_stale_pool_cache_is_called(self, bsb_pool, monkeypatch):
        layer, calls = Layer(), []

        def free(owner, required):
            calls.append(set(required))
            original(owner, required)

        original = names.free_stale_pool_cache
        monkeypatch.setattr(names, "free_stale_pool_cache", free)
        for _ in range(2):
            bsb_pool.queue(use, (layer,), cache_items=[layer])
        assert run(bsb_pool) == [1, 1]
        assert calls[:2] == [{zlib.crc32(b"layer.density")}, set()]
        assert kept() == 0

    def test_a_patched_reader_is_called(self, bsb_pool, monkeypatch):
        layer, calls = Layer(), []

        def read(self):
            calls.append(self)
            return original(self)

        original = names.JobPool._read_required_cache_items
        monkeypatch.setattr(names.JobPool, "_read_required_cache_items", read)
        for _ in range(2):
            bsb_pool.queue(use, (layer,), cache_items=[layer])
        assert run(bsb_pool) == [1, 1]
        assert set(calls) == {bsb_pool}
        assert layer.evaluated == 1

    def test_free_stale_pool_cache_keeps_required_items(self):
        scaffold = Scaffold()
        for id in (1, 2, 3):
            scaffold.register_pool_cached_item(id, lambda: None)
        names.free_stale_pool_cache(scaffold, {2})
        assert scaffold.cleaned == [1, 3]
        assert list(scaffold._pool_cache) == [2]
