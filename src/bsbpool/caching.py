"""Results of expensive helpers, kept on a rank exactly as long as a job needs them.

`pool_cache` keeps what a method returns, for each node on its own. Jobs say which
items they need; the core counts, and tells each rank when an item is needed no
more. The rank then drops it.

Items are known by `CacheId`: the number that bsb gives an item for whoever looks,
but different items stay different when their numbers are equal.
"""

from __future__ import annotations

import functools
import sys
import threading
import zlib
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

CacheInfo = namedtuple("CacheInfo", ["hits", "misses", "maxsize", "currsize"])

_home: ContextVar[Any] = ContextVar("bsbpool_cache_home", default=None)


_named: dict[int, int] = {}
"""The token of the first name that showed a number, for callers who give plain numbers."""


class CacheId(int):
    """The id of a cache item: crc32 of its name as a number, 64 bits as identity.

    Two ids are equal when their tokens are; an id equals a plain int of its number.

    Attributes
    ----------
    token : int
        What ranks know the item by.
    """

    token: int

    def __new__(cls, name: str) -> CacheId:
        """Make the id of a name."""
        data = name.encode()
        # crc32 collides from some ten thousand names on; the upper half tells them apart.
        salt = int.from_bytes(blake2b(data, digest_size=4).digest(), "little") or 1
        number = zlib.crc32(data)
        token = salt << 32 | number
        _named.setdefault(number, token)
        return cls.of(token)

    @classmethod
    def of(cls, token: int) -> CacheId:
        """Make the id of a token."""
        self = super().__new__(cls, visible_id(token))
        self.token = token
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CacheId) and self.token >> 32 and other.token >> 32:
            return self.token == other.token
        return int(self) == int(other) if isinstance(other, int) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the token."""
        return CacheId.of, (self.token,)


def token_of(id: int) -> int:
    """Return the 64-bit number that the ranks know an item by."""
    if isinstance(id, CacheId):
        return id.token
    # A plain number, as bsb's own ids are: it means the item that shows this number.
    return _named.get(int(id), int(id) & (1 << 64) - 1)


def visible_id(token: int) -> int:
    """Return the number that a token shows to callers: the crc32 of a `CacheId`."""
    return token & 0xFFFFFFFF if token >> 32 else token


class RequiredItems(Collection[int]):
    """The ids that are still needed, as tokens from the core."""

    def __init__(self, tokens: Collection[int]) -> None:
        self._tokens = tokens

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int) and token_of(id) in self._tokens

    def __iter__(self) -> Iterator[int]:
        return map(visible_id, self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)


class CacheHome:
    """Where the items of a rank are registered when the owner has no place of its own."""

    def __init__(self) -> None:
        self._pool_cache: dict[int, list[Callable[[], Any]]] = {}

    def register_pool_cached_item(self, id: int, cleanup: Callable[[], Any]) -> None:
        """Have `cleanup` called when the item is needed no more."""
        self._pool_cache.setdefault(id, []).append(cleanup)


def free_stale_pool_cache(home: Any, required: Collection[int]) -> None:
    """Clean up the items of a rank that are not required.

    Parameters
    ----------
    home : object
        Its `_pool_cache` maps ids to lists of clean-up functions.
    required : set of int
        Ids to keep.
    """
    for id in [id for id in home._pool_cache if id not in required]:
        for cleanup in home._pool_cache.pop(id):
            cleanup()


def free_items(home: Any, tokens: Iterable[int]) -> None:
    """Clean up the items of these tokens, as far as this rank has them."""
    for token in tokens:
        for cleanup in home._pool_cache.pop(CacheId.of(token), ()):
            cleanup()


@contextmanager
def cache_home(home: Any) -> Iterator[None]:
    """Let items evaluated in this context be registered with `home`."""
    token = _home.set(home)
    try:
        yield
    finally:
        _home.reset(token)


# ------------------------------------------------------------------ the decorators


class _Store:
    """The kept results of one function: per subject (a node, or nothing), per arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.subjects: dict[int, tuple[Any, dict[Any, Any]]] = {}
        self.lock = threading.RLock()
        self.hits = self.misses = 0

    def get(
        self, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any],
        register: Callable[[Callable[[], None]], None],
    ) -> Any:
        key = functools._make_key(args, kwargs, typed=False)
        with self.lock:  # at most one evaluation, also when threads ask
            _, results = self.subjects.get(id(subject), (None, {}))
            if key in results:
                self.hits += 1
                return results[key]
            self.misses += 1
            call = args if subject is None else (subject, *args)
            value = self.function(*call, **kwargs)
            # The subject is kept alive with its results, so that its id stays its own.
            if id(subject) not in self.subjects:
                self.subjects[id(subject)] = (subject, {})
                register(lambda: self.drop(subject))
            self.subjects[id(subject)][1][key] = value
            return value

    def drop(self, subject: Any) -> None:
        with self.lock:
            self.subjects.pop(id(subject), None)

    def clear(self) -> None:
        with self.lock:
            self.subjects.clear()
            self.hits = self.misses = 0

    def info(self) -> CacheInfo:
        with self.lock:
            size = sum(len(results) for _, results in self.subjects.values())
            return CacheInfo(self.hits, self.misses, None, size)


def pool_cache(method: Callable[..., Any]) -> Any:
    """Keep what a node's method returns while a job of the pool needs it.

    Parameters
    ----------
    method : callable
        A method of a class that has `get_node_name()`. Its arguments must be
        hashable. Jobs of the node need the item by themselves.

    Returns
    -------
    callable
        The method, with `cache_info()`, `cache_clear()` and `get_pool_cache_id(node)`.

    Raises
    ------
    RuntimeError
        When called on something that has no `get_node_name`.

    Examples
    --------
    >>> class Layer:
    ...     def get_node_name(self):
    ...         return "layer"
    ...     @pool_cache
    ...     def density(self):
    ...         print("evaluated")
    ...         return 3.5
    >>> layer = Layer()
    >>> layer.density(), layer.density()
    evaluated
    (3.5, 3.5)
    """
    store = _Store(method)

    def get_pool_cache_id(node: Any) -> CacheId:
        if not hasattr(node, "get_node_name"):
            raise RuntimeError(
                "Pool caching can only be used on methods of @node decorated classes: "
                f"{type(node).__qualname__} has no get_node_name()."
            )
        return CacheId(f"{node.get_node_name()}.{method.__name__}")

    @functools.wraps(method)
    def decorated(self: Any, *args: Any, **kwargs: Any) -> Any:
        def register(cleanup: Callable[[], None]) -> None:
            home = _home_of(self)
            if home is not None:
                home.register_pool_cached_item(get_pool_cache_id(self), cleanup)

        if not hasattr(self, "get_node_name"):
            get_pool_cache_id(self)
        return store.get(self, args, kwargs, register)

    return _dress(decorated, store, get_pool_cache_id=get_pool_cache_id)


def pool_cached_function(function: Callable[..., Any]) -> Any:
    """Keep what a plain function returns while a job that names it needs it.

    Parameters
    ----------
    function : callable
        Its arguments must be hashable.

    Returns
    -------
    callable
        The function, to be named by jobs: ``pool.queue(f, cache_items=[function])``.
        Outside of jobs it keeps its results until `cache_clear()`.

    Examples
    --------
    >>> @pool_cached_function
    ... def table(n):
    ...     return list(range(n))
    >>> table(3) is table(3)
    True
    """
    store = _Store(function)
    id = CacheId(f"{function.__module__}.{function.__qualname__}()")

    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        def register(cleanup: Callable[[], None]) -> None:
            home = _home.get()
            if home is not None:
                home.register_pool_cached_item(id, cleanup)

        return store.get(None, args, kwargs, register)

    return _dress(decorated, store, pool_cache_id=id)


def _dress(decorated: Any, store: _Store, **attributes: Any) -> Any:
    decorated.cache_info = store.info
    decorated.cache_clear = store.clear
    for name, value in attributes.items():
        setattr(decorated, name, value)
    return decorated


def _home_of(node: Any) -> Any:
    owner = getattr(node, "scaffold", None)
    return owner if hasattr(owner, "register_pool_cached_item") else _home.get()


# ------------------------------------------------------------------ who needs what


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


def item_ids(needs: Collection[Any]) -> list[int]:
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
            ids.extend(get_node_cache_items(need))
        else:
            raise TypeError(
                f"cache_items: {need!r} is neither an id, nor a function made by "
                "pool_cached_function, nor a node"
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
        tokens = tuple(map(token_of, item_ids(needs)))
        if tokens not in self._sets:
            numbers = [self._item(token) for token in dict.fromkeys(tokens)]
            self._sets[tokens] = self._engine.cache_set(numbers)
        return self._sets[tokens]

    def _item(self, token: int) -> int:
        if token not in self._items:
            self._items[token] = self._engine.cache_item(token)
        return self._items[token]
