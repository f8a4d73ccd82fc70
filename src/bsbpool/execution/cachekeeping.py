"""Freeing the cache items of this rank."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from bsbpool import caching

if TYPE_CHECKING:
    from bsbpool.pool import JobPool


class CacheKeeper:
    """Frees what this rank keeps when the core says that no job needs it.

    Items are registered with the owner when it keeps a `_pool_cache`, as bsb's
    scaffold does, else in a place of the pool's own.
    """

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool
        owner = pool.owner
        self._place: Any = owner if hasattr(owner, "_pool_cache") else caching.CacheScope()

    def home(self, *, copied: bool = False) -> AbstractContextManager[None]:
        """Let the jobs run in here register their items.

        Parameters
        ----------
        copied : bool
            Whether each job gets copies of its arguments.
        """
        arrived = caching.Copies(self._pool.owner) if copied else None
        return caching.cache_scope(self._place, arrived)

    def free(self, tokens: Iterable[int]) -> None:
        """Free items that are needed no more."""
        if not self._is_replaced():
            caching.free_items(self._place, set(tokens) - self._needed_elsewhere())

    def sweep_if_replaced(self) -> None:
        """Do as bsb does between jobs, when somebody replaced a step of it (its tests do)."""
        if self._is_replaced():
            names: Any = sys.modules.get("bsbpool.services.pool", caching)
            names.free_stale_pool_cache(self._place, self._pool._read_required_cache_items())

    def _is_replaced(self) -> bool:
        names: Any = sys.modules.get("bsbpool.services.pool", caching)
        read = type(self._pool)._read_required_cache_items
        return (
            names.free_stale_pool_cache is not caching.free_stale_pool_cache
            or read.__module__ != "bsbpool.compat"
        )

    def free_all(self) -> None:
        """Free everything that no other pool of this place needs: the run is over."""
        names: Any = sys.modules.get("bsbpool.services.pool", caching)
        names.free_stale_pool_cache(self._place, caching.ids_of(self._needed_elsewhere()))

    def _needed_elsewhere(self) -> set[int]:
        """Return what open pools of the same place need, as around a pool inside a job."""
        needed: set[int] = set()
        for pool in list(type(self._pool)._pools.values()):
            if pool is not self._pool and pool.owner is self._pool.owner is not None:
                needed.update(pool._run.needed_tokens())
        return needed
