"""Where the items of a rank are registered, and how they are freed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bsbpool.caching.copies import Copies, copies
from bsbpool.caching.ids import CacheId

_scope: ContextVar[Any] = ContextVar("bsbpool_cache_scope", default=None)


class CacheScope:
    """Where the items of a rank are registered when the owner has no place of its own."""

    def __init__(self) -> None:
        self._pool_cache: dict[int, list[Callable[[], Any]]] = {}

    def register_pool_cached_item(self, id: int, cleanup: Callable[[], Any]) -> None:
        """Have `cleanup` called when the item is needed no more."""
        self._pool_cache.setdefault(id, []).append(cleanup)


def free_stale_pool_cache(scope: Any, required: Collection[int]) -> None:
    """Clean up the items of a rank that are not required.

    Parameters
    ----------
    scope : object
        Its `_pool_cache` maps ids to lists of clean-up functions.
    required : set of int
        Ids to keep.
    """
    for id in [id for id in scope._pool_cache if id not in required]:
        for cleanup in scope._pool_cache.pop(id):
            cleanup()


def free_items(scope: Any, tokens: Iterable[int]) -> None:
    """Clean up the items of these tokens, as far as this rank has them."""
    for token in tokens:
        for cleanup in scope._pool_cache.pop(CacheId.of(token), ()):
            cleanup()


@contextmanager
def cache_scope(scope: Any, arrived: Copies | None = None) -> Iterator[None]:
    """Let items evaluated in this context be registered with `scope`.

    Parameters
    ----------
    scope : object
        Has `register_pool_cached_item`.
    arrived : Copies, optional
        Recognizes copies in the arguments of jobs. By default that of the job context job, if any.
    """
    tokens = _scope.set(scope), copies.set(arrived or copies.get())
    try:
        yield
    finally:
        _scope.reset(tokens[0])
        copies.reset(tokens[1])


def current_scope() -> Any:
    """Return the place of the job that runs here; None outside of jobs."""
    return _scope.get()
