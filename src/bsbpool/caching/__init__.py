"""Results of expensive helpers, kept on a rank exactly as long as a job needs them.

`pool_cache` keeps what a method returns, for each node on its own. Jobs say which
items they need; the core counts, and tells each rank when an item is needed no
more. The rank then drops it.
"""

from bsbpool.caching.copies import Copies
from bsbpool.caching.decorators import pool_cache, pool_cached_function
from bsbpool.caching.scope import CacheScope, cache_scope, free_items, free_stale_pool_cache
from bsbpool.caching.ids import CacheId, ids_of, token_of, visible_id
from bsbpool.caching.needs import Needs, get_node_cache_items, item_ids

__all__ = [
    "CacheScope",
    "CacheId",
    "Copies",
    "Needs",
    "cache_scope",
    "free_items",
    "free_stale_pool_cache",
    "get_node_cache_items",
    "ids_of",
    "item_ids",
    "pool_cache",
    "pool_cached_function",
    "token_of",
    "visible_id",
]
