"""The cache items of nodes of a BSB configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from bsbpool import caching


def get_node_cache_items(node: Any) -> list[int]:
    """Return the ids of the items that `pool_cache` may keep for a node and the nodes below it."""
    return caching.items_of_parts(_walk(node))


def _walk(node: Any) -> Iterator[Any]:
    config = sys.modules.get("bsb.config")
    if config is not None and hasattr(type(node), "_config_attrs"):
        yield from config.walk_nodes(node)
    else:
        yield node
