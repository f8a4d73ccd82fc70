"""Results of expensive functions, kept on a rank as long as a job needs them.

`pool_cache` keeps the return values of a method separately for each node. Jobs name the items that
they need. The core counts the jobs that need an item, and informs each rank when no job needs it
any more; the rank then frees it.
"""

from bsbpool.caching.copies import Copies
from bsbpool.caching.decorators import pool_cache, pool_cached_function
from bsbpool.caching.ids import CacheId, ids_of, token_of, visible_id
from bsbpool.caching.rank_cache import RankCache
from bsbpool.caching.requirements import (
    CacheRequirements,
    NodeItems,
    get_node_cache_items,
    item_ids,
    items_of_parts,
)
from bsbpool.caching.scope import CacheScope, cache_scope, free_items, free_stale_pool_cache

__all__ = [
    "CacheId",
    "CacheRequirements",
    "CacheScope",
    "Copies",
    "NodeItems",
    "RankCache",
    "cache_scope",
    "free_items",
    "free_stale_pool_cache",
    "get_node_cache_items",
    "ids_of",
    "item_ids",
    "items_of_parts",
    "pool_cache",
    "pool_cached_function",
    "token_of",
    "visible_id",
]
