"""Results of expensive functions, kept on a rank as long as a job needs them.

`pool_cache` keeps the return values of a method separately for each node. Jobs name the items that
they need. The core counts the jobs that need an item, and informs each rank when no job needs it
any more; the rank then frees it.

The names are imported when they are first used: pools without cache items need few of them.
"""

from __future__ import annotations

import importlib

from bsbpool._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.caching.copies import Copies as Copies
    from bsbpool.caching.decorators import pool_cache as pool_cache
    from bsbpool.caching.decorators import pool_cached_function as pool_cached_function
    from bsbpool.caching.ids import CacheId as CacheId
    from bsbpool.caching.ids import ids_of as ids_of
    from bsbpool.caching.ids import token_of as token_of
    from bsbpool.caching.ids import visible_id as visible_id
    from bsbpool.caching.items import CacheRequirements as CacheRequirements
    from bsbpool.caching.items import CacheScope as CacheScope
    from bsbpool.caching.items import NodeItems as NodeItems
    from bsbpool.caching.items import RankCache as RankCache
    from bsbpool.caching.items import cache_scope as cache_scope
    from bsbpool.caching.items import free_items as free_items
    from bsbpool.caching.items import free_stale_pool_cache as free_stale_pool_cache
    from bsbpool.caching.items import get_node_cache_items as get_node_cache_items
    from bsbpool.caching.items import item_ids as item_ids
    from bsbpool.caching.items import items_of_parts as items_of_parts

_MODULE_OF = {
    "CacheId": "ids",
    "CacheRequirements": "items",
    "CacheScope": "items",
    "Copies": "copies",
    "NodeItems": "items",
    "RankCache": "items",
    "cache_scope": "items",
    "free_items": "items",
    "free_stale_pool_cache": "items",
    "get_node_cache_items": "items",
    "ids_of": "ids",
    "item_ids": "items",
    "items_of_parts": "items",
    "pool_cache": "decorators",
    "pool_cached_function": "decorators",
    "token_of": "ids",
    "visible_id": "ids",
}

__all__ = [*_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bsbpool.caching' has no attribute '{name}'")
    return getattr(importlib.import_module(f"bsbpool.caching.{_MODULE_OF[name]}"), name)
