"""The cache items that jobs need."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.naming import brief

if TYPE_CHECKING:
    from bsbpool._core.scheduling.engine import Engine

NodeItems = Callable[[Any], list[int]]
"""Returns the ids of the items that may be cached for a node."""


def get_node_cache_items(node: Any) -> list[int]:
    """Return the ids of the items that `pool_cache` may keep for a node."""
    return items_of_parts([node])


def items_of_parts(parts: Iterable[Any]) -> list[int]:
    """Return the ids of the items that `pool_cache` may keep for the parts of a node."""
    return [
        method.get_pool_cache_id(part)
        for part in parts
        for name in dir(part)
        if (method := _cached_method(part, name)) is not None
    ]


def _cached_method(node: Any, name: str) -> Any:
    """Return a method decorated with `pool_cache`, or None; evaluates no property of the node."""
    found = node.__dict__.get(name) if hasattr(node, "__dict__") else None
    if found is None:
        for kind in type(node).__mro__:
            if name in kind.__dict__:
                found = kind.__dict__[name]
                break
    return found if hasattr(found, "get_pool_cache_id") else None


def item_ids(items: Collection[Any], node_items: NodeItems = get_node_cache_items) -> list[int]:
    """Return the ids of cache items that are given as ids, cached functions or nodes.

    Raises
    ------
    TypeError
        For anything else.
    """
    ids: list[int] = []
    for item in items:
        if isinstance(item, int):
            ids.append(item)
        elif hasattr(item, "pool_cache_id"):
            ids.append(item.pool_cache_id)
        elif hasattr(item, "get_node_name"):
            ids.extend(node_items(item))
        else:
            raise TypeError(
                "cache_items must contain ids, functions decorated with pool_cached_function, or "
                f"nodes; got {brief(item)}"
            )
    return list(dict.fromkeys(ids))


class CacheRequirements:
    """Registers the cache items of a pool's jobs with its engine.

    Parameters
    ----------
    engine : Engine
        The scheduling tables of the pool.
    node_items : callable
        Returns the ids of the items of a node.
    """

    def __init__(self, engine: Engine, node_items: NodeItems = get_node_cache_items) -> None:
        self._engine = engine
        self._node_items = node_items
        self._items: dict[int, int] = {}
        self._sets: dict[tuple[int, ...], int] = {}
        self._nodes: dict[int, tuple[Any, list[int]]] = {}

    def __bool__(self) -> bool:
        """Whether any job needs an item, or needed one."""
        return bool(self._sets)

    def of_node(self, node: Any) -> list[int]:
        """Return the ids of the items of a node, which are the same for all jobs of the node."""
        if id(node) not in self._nodes:
            self._nodes[id(node)] = (node, self._node_items(node))
        return self._nodes[id(node)][1]

    def set_of(self, items: Collection[Any]) -> int:
        """Return the number of a set of items in the engine; -1 for the empty set."""
        if not items:
            return -1
        from bsbpool.caching.ids import token_of  # only pools with cache items need it

        tokens = tuple(map(token_of, item_ids(items, self.of_node)))
        if tokens not in self._sets:
            numbers = [self._item(token) for token in dict.fromkeys(tokens)]
            self._sets[tokens] = self._engine.add_cache_set(numbers)
        return self._sets[tokens]

    def _item(self, token: int) -> int:
        if token not in self._items:
            self._items[token] = self._engine.add_cache_item(token)
        return self._items[token]
