"""Runs strategies that cache, in the ways in which bsb runs them and watches them."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

import zlib
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import scenes
from scenes import MPI, error_of, folder

import cached
from bsb import Chunk, config, pool_cache
from bsb.services import pool as pool_module
from bsb.services.pool import JobPool


def left_over() -> list[int]:
    """How many items are registered, and how many results are kept in all."""
    kept = (getattr(cached.Cached, item).cache_info().currsize for item in cached.ITEMS)
    return [len(network._pool_cache), sum(kept)]


def compiled() -> Any:
    network.compile()
    return {"ledger": cached.take_ledger(), "left": left_over()}


def again() -> Any:
    network.compile(redo=True)
    return {"ledger": cached.take_ledger(), "left": left_over()}


def queued() -> Any:
    """All jobs are known before the first one runs."""
    with network.create_job_pool() as pool:
        if pool.is_main():
            queue_all(pool)
        pool.execute()
    return {"ledger": cached.take_ledger(), "left": left_over()}


def queue_all(pool: Any) -> None:
    size = network.network.chunk_size
    jobs: list[Any] = []
    for name in cached.NODES:
        jobs = [
            pool.queue_placement(network.placement[name], Chunk([x, y, 0], size), deps=jobs)
            for x in (0, 1)
            for y in (0, 1)
        ]


def tracked() -> Any:
    """Look into the cache as bsb's own tests do, by replacing steps of the pool."""
    swept: list[Any] = []
    read: list[int] = []
    free = pool_module.free_stale_pool_cache

    def sweep(scaffold: Any, required: Any) -> Any:
        stale = [names[id] for id in scaffold._pool_cache if id not in required]
        swept.append([stale, scaffold is network, len(cached.ledger)])
        return free(scaffold, required)

    def read_from_window(pool: Any) -> set[int]:
        pool._cache_window.Lock(0)
        pool._cache_window.Get([pool._cache_buffer, MPI.UINT64_T], 0)
        pool._cache_window.Unlock(0)
        ids = {int(id) for id in pool._cache_buffer}
        read.append(sum(id in ids for id in names))
        return ids

    with ExitStack() as stack:
        stack.enter_context(patch("bsb.services.pool.free_stale_pool_cache", sweep))
        stack.enter_context(
            patch("bsb.services.pool.JobPool._read_required_cache_items", read_from_window)
        )
        assert JobPool._read_required_cache_items is read_from_window
        with network.create_job_pool() as pool:
            if pool.is_main():
                queue_all(pool)
                required = sorted(names[id] for id in pool.get_required_cache_items())
            pool.execute()
    return {
        "ledger": cached.take_ledger(),
        "swept": swept,
        "read": read,
        "required": required if pool.is_main() else None,
        "left": left_over(),
    }


def by_hand() -> Any:
    """Ask outside of any pool: kept until the next one ends."""
    strategy = network.placement.first
    same = strategy.get_indicators() is strategy.get_indicators()
    info = strategy.get_indicators.cache_info()
    before = left_over()
    with network.create_job_pool() as pool:
        pool.execute()
    facts = {"same": same, "hits": info.hits > 0, "before": before, "after": left_over()}
    strategy.helper()
    strategy.helper.cache_clear()
    strategy.helper()
    ledger = cached.take_ledger()
    strategy.helper.cache_clear()
    network._pool_cache.clear()
    return {**facts, "evaluated": ledger.count(("evaluate", "first.helper"))}


def ids() -> Any:
    class NoNode:
        @pool_cache
        def helper(self) -> None:
            pass

    strategy = network.placement.first
    expected = [
        zlib.crc32(f"{node.get_node_name()}.{name}".encode())
        for node in config.walk_nodes(strategy)
        for name in dir(node)
        if hasattr(getattr(type(node), name, None), "get_pool_cache_id")
    ]
    return {
        "items": [int(id) for id in pool_module.get_node_cache_items(strategy)],
        "expected": expected,
        "hash": int(pool_module._cache_hash("first")) == zlib.crc32(b"first"),
        "no_node": error_of(NoNode().helper),
    }


network = cached.network(folder / "cached.hdf5")
names = {
    int(getattr(cached.Cached, item).get_pool_cache_id(network.placement[node])): f"{node}.{item}"
    for node in cached.NODES
    for item in cached.ITEMS
}
names |= dict.fromkeys(
    (
        int(id)
        for node in cached.NODES
        for id in pool_module.get_node_cache_items(network.placement[node].distribute)
    ),
    "distribute",
)
scenes.play(compiled, again, queued, tracked, by_hand, ids)
