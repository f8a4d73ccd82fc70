"""Which items a job needs, as numbers of the core."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

from bsbpool.caching.ids import token_of
from bsbpool.naming import brief


def get_node_cache_items(node: Any) -> list[int]:
    """Return the ids of what `pool_cache` may keep for a node and the nodes below it."""
    return [
        method.get_pool_cache_id(part)
        for part in _walk(node)
        for name in dir(part)
        if (method := _cached_method(part, name)) is not None
    ]


def _cached_method(node: Any, name: str) -> Any:
    """Find a decorated method without running the node's properties."""
    found = node.__dict__.get(name) if hasattr(node, "__dict__") else None
    if found is None:
        for kind in type(node).__mro__:
            if name in kind.__dict__:
                found = kind.__dict__[name]
                break
    return found if hasattr(found, "get_pool_cache_id") else None


def _walk(node: Any) -> Iterator[Any]:
    config = sys.modules.get("bsb.config")
    if config is not None and hasattr(type(node), "_config_attrs"):
        yield from config.walk_nodes(node)
    else:
        yield node


def item_ids(
    needs: Collection[Any], of_node: Callable[[Any], list[int]] = get_node_cache_items
) -> list[int]:
    """Turn what a job says it needs (ids, cached functions, nodes) into ids.

    Raises
    ------
    TypeError
        For anything else.
    """
    ids: list[int] = []
    for need in needs:
        if isinstance(need, int):
            ids.append(need)
        elif hasattr(need, "pool_cache_id"):
            ids.append(need.pool_cache_id)
        elif hasattr(need, "get_node_name"):
            ids.extend(of_node(need))
        else:
            raise TypeError(
                "cache_items must contain ids, functions decorated with pool_cached_function, or "
                f"nodes; got {brief(need)}"
            )
    return list(dict.fromkeys(ids))


class Needs:
    """The cache items of a pool's jobs, as numbers of its core."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._items: dict[int, int] = {}
        self._sets: dict[tuple[int, ...], int] = {}
        self._nodes: dict[int, tuple[Any, list[int]]] = {}

    def __bool__(self) -> bool:
        """Whether any job ever needed an item."""
        return bool(self._sets)

    def of_node(self, node: Any) -> list[int]:
        """Return `get_node_cache_items`, which is the same for all jobs of a node."""
        if id(node) not in self._nodes:
            self._nodes[id(node)] = (node, get_node_cache_items(node))
        return self._nodes[id(node)][1]

    def set_of(self, needs: Collection[Any]) -> int:
        """Return the number of a set of items, -1 for none."""
        if not needs:
            return -1
        tokens = tuple(map(token_of, item_ids(needs, self.of_node)))
        if tokens not in self._sets:
            numbers = [self._item(token) for token in dict.fromkeys(tokens)]
            self._sets[tokens] = self._engine.cache_set(numbers)
        return self._sets[tokens]

    def _item(self, token: int) -> int:
        if token not in self._items:
            self._items[token] = self._engine.cache_item(token)
        return self._items[token]
