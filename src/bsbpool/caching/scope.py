"""Cache scopes: registries of the cache items of a rank, and freeing these items."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bsbpool._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.caching.copies import Copies

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
