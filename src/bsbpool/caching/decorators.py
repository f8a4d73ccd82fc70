"""The decorators for functions whose results are kept on a rank."""

from __future__ import annotations

import functools
import threading
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from bsbpool.caching.ids import CacheId
from bsbpool.caching.items import current_copies, current_scope
from bsbpool.naming import explain, name_of

CacheInfo = namedtuple("CacheInfo", ["hits", "misses", "maxsize", "currsize"])


class _Store:
    """The results of one function, by subject (a node; None for a plain function) and arguments."""

    decorated: Any = None
    """The function that the decorator returned. It is pickled as an attribute of its store."""
    key: str | None = None
    """Identifies the store in other processes; set when it is first pickled."""
    is_copy = False

    def __init__(self, decorate: Callable[..., Any], function: Callable[..., Any]) -> None:
        self.decorate, self.function = decorate, function
        self.subjects: dict[Any, tuple[Any, dict[Any, Any]]] = {}
        self.lock = threading.RLock()
        self.hits = self.misses = 0

    def get(
        self,
        subject: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        register: Callable[[Callable[[], None]], None],
    ) -> Any:
        with self.lock:  # at most one evaluation, also by several threads
            place, key = _place_of(self.function, subject, args, kwargs)
            found = self._results(place)
            if key not in found and current_copies.get() is not None:
                # Copies will share the result, so the subject must still have the state of the key.
                place, key = _place_of(self.function, subject, args, kwargs, confirm=True)
                found = self._results(place)
            if key in found:
                self.hits += 1
                return found[key]
            self.misses += 1
            call = args if subject is None else (subject, *args)
            value = self.function(*call, **kwargs)
            if place not in self.subjects:
                # A subject whose id is the key is kept alive, so that its id is not reused.
                self.subjects[place] = (subject if place == id(subject) else None, {})
                register(lambda: self.drop(place))
            self.subjects[place][1][key] = value
            return value

    def _results(self, place: Any) -> dict[Any, Any]:
        return self.subjects[place][1] if place in self.subjects else {}

    def drop(self, place: Any) -> None:
        with self.lock:
            self.subjects.pop(place, None)

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
                import uuid  # slow to import, and most stores are never pickled

                self.key = uuid.uuid4().hex
                _pickled[self.key] = self
        return _store_of, (self.decorate, self.key, self.function)

    def reduce_by_value(self, obj: Any) -> tuple[Any, ...] | None:
        """Return how the decorated function is pickled; None for any other object."""
        return (getattr, (self, "decorated")) if obj is self.decorated else None


_pickled: weakref.WeakValueDictionary[str, _Store] = weakref.WeakValueDictionary()
"""The stores that this process has pickled or unpickled, by their key."""


def _store_of(decorate: Callable[..., Any], key: str, function: Callable[..., Any]) -> _Store:
    """Return the store of a function that is unpickled: the existing one if there is one."""
    store = _pickled.get(key)
    if store is None:
        made: _Store = decorate(function).cache_info.__self__
        made.key, made.is_copy = key, True
        store = _pickled.setdefault(key, made)
    if store.is_copy:
        store.function = function  # its closure may have changed
    return store


def _place_of(
    function: Callable[..., Any],
    subject: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    confirm: bool = False,
) -> tuple[Any, Any]:
    """Return the key of the results of a subject, and the key of one of these results."""
    known_copies = current_copies.get()
    if known_copies is None:
        return id(subject), _key(function, args, kwargs)
    args = tuple(known_copies.key_part(value, confirm) for value in args)
    kwargs = {name: known_copies.key_part(value, confirm) for name, value in kwargs.items()}
    state = None if subject is None else known_copies.state_of(subject, confirm)
    place = id(subject) if state is None else (state, subject.get_node_name())
    return place, _key(function, args, kwargs)


def _key(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return functools._make_key(args, kwargs, typed=False)
    except TypeError as error:
        explain(error, f"{name_of(function)}() is cached, so its arguments must be hashable")
        raise


def pool_cache(method: Callable[..., Any]) -> Any:
    """Keep the results of a node's method as long as a job of the pool needs them.

    Parameters
    ----------
    method : callable
        A method of a class that has `get_node_name()`. Its arguments must be hashable.

        If a node is an argument of jobs on other ranks, each job gets a copy. Copies with the
        same class, name and state share their results.

    Returns
    -------
    callable
        The method, with `cache_info()`, `cache_clear()` and `get_pool_cache_id(node)`.

    Raises
    ------
    RuntimeError
        When it is called on an object that has no `get_node_name`.

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
            for scope in _scopes_of(self):
                scope.register_pool_cached_item(get_pool_cache_id(self), cleanup)

        if not hasattr(self, "get_node_name"):
            get_pool_cache_id(self)
        return store.get(self, args, kwargs, register)

    return _with_attributes(decorated, store, get_pool_cache_id=get_pool_cache_id)


def pool_cached_function(function: Callable[..., Any]) -> Any:
    """Keep the results of a function as long as a job with this cache item needs them.

    Parameters
    ----------
    function : callable
        A function. Its arguments must be hashable.

    Returns
    -------
    callable
        The function, for use as a cache item of jobs: ``pool.queue(f, cache_items=[function])``.
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
            scope = current_scope()
            if scope is not None:
                scope.register_pool_cached_item(id, cleanup)

        return store.get(None, args, kwargs, register)

    return _with_attributes(decorated, store, pool_cache_id=id)


def _with_attributes(decorated: Any, store: _Store, **attributes: Any) -> Any:
    store.decorated = decorated
    decorated.reduce_by_value = store.reduce_by_value
    decorated.cache_info = store.info
    decorated.cache_clear = store.clear
    for name, value in attributes.items():
        setattr(decorated, name, value)
    return decorated


def _scopes_of(node: Any) -> list[Any]:
    """Return the scopes in which an item of a node is registered."""
    owner, scope = getattr(node, "scaffold", None), current_scope()
    if not hasattr(owner, "register_pool_cached_item"):
        return [] if scope is None else [scope]
    # The owner of a node that is an argument of a job may be a copy, whose items are not freed.
    if scope is None or scope is owner or current_copies.get() is None:
        return [owner]
    return [owner, scope]
