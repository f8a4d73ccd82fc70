"""The decorators that keep what helpers return."""

from __future__ import annotations

import functools
import threading
import uuid
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from bsbpool.caching.home import current_home
from bsbpool.caching.ids import CacheId

CacheInfo = namedtuple("CacheInfo", ["hits", "misses", "maxsize", "currsize"])


class _Store:
    """The kept results of one function: per subject (a node, or nothing), per arguments."""

    decorated: Any = None
    """What the decorator returned, which travels with its store."""
    key: str | None = None
    """What other processes know it by, once it has been pickled."""
    is_copy = False

    def __init__(self, decorate: Callable[..., Any], function: Callable[..., Any]) -> None:
        self.decorate, self.function = decorate, function
        self.subjects: dict[int, tuple[Any, dict[Any, Any]]] = {}
        self.lock = threading.RLock()
        self.hits = self.misses = 0

    def get(
        self,
        subject: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
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

    def __reduce__(self) -> tuple[Any, ...]:
        with self.lock:
            if self.key is None:
                self.key = uuid.uuid4().hex
                _travelled[self.key] = self
        return _store_of, (self.decorate, self.key, self.function)

    def reduce_by_value(self, obj: Any) -> tuple[Any, ...] | None:
        """Return how the decorated function is pickled; None for others with its attributes."""
        return (getattr, (self, "decorated")) if obj is self.decorated else None


_travelled: weakref.WeakValueDictionary[str, _Store] = weakref.WeakValueDictionary()
"""The stores that have left this process or come to it, by their key."""


def _store_of(decorate: Callable[..., Any], key: str, function: Callable[..., Any]) -> _Store:
    """Make a store that came by value; one that has been here keeps its results."""
    store = _travelled.get(key)
    if store is None:
        made: _Store = decorate(function).cache_info.__self__
        made.key, made.is_copy = key, True
        store = _travelled.setdefault(key, made)
    if store.is_copy:
        store.function = function  # what it closes over may have changed
    return store


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
    store = _Store(pool_cache, method)

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
    store = _Store(pool_cached_function, function)
    id = CacheId(f"{function.__module__}.{function.__qualname__}()")

    @functools.wraps(function)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        def register(cleanup: Callable[[], None]) -> None:
            home = current_home()
            if home is not None:
                home.register_pool_cached_item(id, cleanup)

        return store.get(None, args, kwargs, register)

    return _dress(decorated, store, pool_cache_id=id)


def _dress(decorated: Any, store: _Store, **attributes: Any) -> Any:
    store.decorated = decorated
    decorated.reduce_by_value = store.reduce_by_value
    decorated.cache_info = store.info
    decorated.cache_clear = store.clear
    for name, value in attributes.items():
        setattr(decorated, name, value)
    return decorated


def _home_of(node: Any) -> Any:
    owner = getattr(node, "scaffold", None)
    return owner if hasattr(owner, "register_pool_cached_item") else current_home()
