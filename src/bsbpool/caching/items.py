"""The cache items of a run: those that its jobs need, and those that a rank has.

A cache scope is a registry of the cache items of a rank.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.naming import brief

if TYPE_CHECKING:
    from bsbpool._core.scheduling.engine import Engine
    from bsbpool.caching.copies import Copies
    from bsbpool.caching.ids import CacheId

_scope: ContextVar[Any] = ContextVar("bsbpool_cache_scope", default=None)
current_copies: ContextVar[Copies | None] = ContextVar("bsbpool_cache_copies", default=None)
"""The copies in the run of the current job; None if jobs get the objects themselves."""


class CacheScope:
    """Registers cache items for pools whose owner does not do so."""

    def __init__(self) -> None:
        self._pool_cache: dict[int, list[Callable[[], Any]]] = {}

    def register_pool_cached_item(self, id: int, cleanup: Callable[[], Any]) -> None:
        """Call `cleanup` when no job needs the item any more."""
        self._pool_cache.setdefault(id, []).append(cleanup)


def free_stale_pool_cache(scope: Any, required: Collection[int]) -> None:
    """Free the items of a rank that are not required.

    Parameters
    ----------
    scope : object
        Has `_pool_cache`, a dictionary from ids to lists of clean-up functions.
    required : set of int
        The ids of the items to keep.
    """
    for id in [id for id in scope._pool_cache if id not in required]:
        for cleanup in scope._pool_cache.pop(id):
            cleanup()


def free_items(scope: Any, tokens: Iterable[int]) -> None:
    """Free the items of these tokens, as far as this rank has them."""
    from bsbpool.caching.ids import CacheId  # only pools with cache items need it

    for token in tokens:
        for cleanup in scope._pool_cache.pop(CacheId.of(token), ()):
            cleanup()


@contextmanager
def cache_scope(scope: Any, copies: Copies | None = None) -> Iterator[None]:
    """Register items that are evaluated in this context with `scope`.

    Parameters
    ----------
    scope : object
        Has `register_pool_cached_item`.
    copies : Copies, optional
        Recognizes copies in the arguments of jobs. By default that of the surrounding job, if any.
    """
    tokens = _scope.set(scope), current_copies.set(copies or current_copies.get())
    try:
        yield
    finally:
        _scope.reset(tokens[0])
        current_copies.reset(tokens[1])


def current_scope() -> Any:
    """Return the scope of the job that runs here; None outside of jobs."""
    return _scope.get()


# ------------------------------------------------------------------ the items of a rank


class RankCache:
    """Frees the cache items of this rank that no job needs any more.

    Items are registered with the owner if it has a `_pool_cache`, else in a scope of the pool.

    Parameters
    ----------
    owner : object
        The owner of the pool.
    needed_elsewhere : callable
        Returns the tokens that other open pools of the same owner need.
    """

    def __init__(self, owner: Any, needed_elsewhere: Callable[[], set[int]]) -> None:
        self._owner = owner
        self._scope: Any = owner if hasattr(owner, "_pool_cache") else CacheScope()
        self._needed_elsewhere = needed_elsewhere

    def scope(self, *, copied: bool = False) -> AbstractContextManager[None]:
        """Register the items of the jobs that run in this context.

        Parameters
        ----------
        copied : bool
            Whether each job gets copies of its arguments.
        """
        if not copied:
            return cache_scope(self._scope)
        from bsbpool.caching.copies import Copies

        return cache_scope(self._scope, Copies(self._owner))

    def refresh(self) -> None:
        """Do nothing; called before a job that a worker runs, and after one that runs here."""

    def free(self, tokens: Iterable[int]) -> None:
        """Free the items that no job of this pool needs any more."""
        free_items(self._scope, set(tokens) - self._needed_elsewhere())

    def free_all(self) -> None:
        """Free the items that no other pool of the owner needs: the run has ended."""
        required: set[CacheId] = set()
        if needed := self._needed_elsewhere():
            from bsbpool.caching.ids import ids_of  # only pools with cache items need it

            required = ids_of(needed)
        free_stale_pool_cache(self._scope, required)


# ------------------------------------------------------------------ the items that jobs need

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
