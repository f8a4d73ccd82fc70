"""The job pool with the names of BSB's own pool, public and private.

BSB, its plugins and its tests use private names of its pool. Those that `JobPool` does not have by
itself are defined here; bsbpool does not use them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar

from bsbpool import caching
from bsbpool.function_job import FunctionJob as PlainFunctionJob
from bsbpool.integrations.bsb.jobs import ConnectivityJob, FunctionJob, PlacementJob
from bsbpool.integrations.bsb.nodes import get_node_cache_items
from bsbpool.jobs import Job
from bsbpool.pool import JobPool
from bsbpool.progress import Listener, PoolProgress
from bsbpool.run_context import open_pools


class BsbJobPool(JobPool):
    """A `JobPool` that stands in for BSB's own pool.

    It queues placement and connectivity jobs, finds the cache items of all nodes below a node of
    the configuration, and has the private names of BSB's pool.
    """

    _job_type: ClassVar[type[PlainFunctionJob[Any]]] = FunctionJob

    _pools: ClassVar[dict[int, BsbJobPool]] = {}
    _pool_owners: ClassVar[dict[int, Any]] = {}
    _tmp_folders: ClassVar[dict[int, str]] = {}
    _mpipool: Any = None
    _running_futures: tuple[Any, ...] = ()
    _buffer: Any = None

    _put = JobPool.put

    def queue_placement(
        self, strategy: Any, chunk: Any, deps: Iterable[Job[Any]] | None = None
    ) -> PlacementJob:
        """Queue the placement of one chunk by a strategy of the scaffold."""
        return self.put(PlacementJob(self, strategy, chunk, deps))

    def queue_connectivity(
        self, strategy: Any, pre_roi: Any, post_roi: Any, deps: Iterable[Job[Any]] | None = None
    ) -> ConnectivityJob:
        """Queue the connection of two regions of interest by a strategy of the scaffold."""
        return self.put(ConnectivityJob(self, strategy, pre_roi, post_roi, deps))

    # What JobPool lets subclasses replace

    def _requires_put(self) -> bool:
        return super()._requires_put() or type(self)._put is not BsbJobPool._put

    def _make_cache(self) -> caching.RankCache:
        return _PatchableCache(
            self._scaffold, self._needed_by_others, lambda: self._read_required_cache_items()
        )

    def _make_cache_requirements(self) -> caching.CacheRequirements:
        return caching.CacheRequirements(self._engine, get_node_cache_items)

    def _register(self, id: int) -> None:
        super()._register(id)
        self._pools[id] = self
        self._pool_owners[id] = self._scaffold
        self._tmp_folders[id] = open_pools.folder(id)

    def _unregister(self, id: int) -> None:
        super()._unregister(id)
        for registry in (self._pools, self._pool_owners, self._tmp_folders):
            registry.pop(id, None)

    # Private names of BSB's pool

    def _read_required_cache_items(self) -> set[caching.CacheId]:
        return caching.ids_of(self.run_context.run.needed_tokens())

    def _update_cache_window(self) -> None:
        """Do nothing: the messages of jobs contain the changes."""

    @property
    def _cache_window(self) -> CacheWindow:
        return CacheWindow(self)

    @property
    def _cache_buffer(self) -> Any:
        if self._buffer is None:
            import numpy

            self._buffer = numpy.zeros(1000, dtype=numpy.uint64)
        return self._buffer

    @property
    def _max_wait(self) -> float:
        return self._events.max_wait

    @property
    def _listeners(self) -> list[Listener]:
        return self._events.listeners

    @property
    def _progress_notifications(self) -> list[PoolProgress]:
        return list(self._events.records)

    @property
    def _unhandled_errors(self) -> list[Exception]:
        return list(self._events.failures.values())


_caching: Any = caching
_original_read = BsbJobPool._read_required_cache_items


class _PatchableCache(caching.RankCache):
    """Calls the functions by which BSB's tests replace steps of the cache."""

    def __init__(
        self,
        owner: Any,
        needed_elsewhere: Callable[[], set[int]],
        read_required: Callable[[], Collection[int]],
    ) -> None:
        super().__init__(owner, needed_elsewhere)
        self._read_required = read_required

    def refresh(self) -> None:
        """Free the items that are not required, if a test replaced a step of that."""
        if _is_patched():
            _free_stale_pool_cache()(self._scope, self._read_required())

    def free(self, tokens: Iterable[int]) -> None:
        """Free the items that no job of this pool needs any more."""
        if not _is_patched():
            super().free(tokens)

    def free_all(self) -> None:
        """Free the items that no other pool of the owner needs: the run has ended."""
        _free_stale_pool_cache()(self._scope, caching.ids_of(self._needed_elsewhere()))


def _is_patched() -> bool:
    return (
        _free_stale_pool_cache() is not caching.free_stale_pool_cache
        or BsbJobPool._read_required_cache_items is not _original_read
    )


def _free_stale_pool_cache() -> Any:
    """Return the function of that name in the module where BSB's tests replace it."""
    return sys.modules.get("bsbpool.services.pool", _caching).free_stale_pool_cache


class CacheWindow:
    """Stands in for the RMA window of BSB's pool; its data are local."""

    def __init__(self, pool: BsbJobPool) -> None:
        self._context = pool.run_context

    def Lock(self, rank: int) -> None:
        """Do nothing."""

    def Unlock(self, rank: int) -> None:
        """Do nothing."""

    def Get(self, bufspec: Any, rank: int) -> None:
        """Fill the buffer with the ids that are required, followed by zeros."""
        buffer = bufspec[0]
        ids = [caching.visible_id(token) for token in self._context.run.needed_tokens()]
        buffer[:] = 0
        buffer[: len(ids)] = ids[: len(buffer)]
