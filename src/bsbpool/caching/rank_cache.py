"""The cache items of one rank in the run of a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.caching.scope import CacheScope, cache_scope, free_items, free_stale_pool_cache

if TYPE_CHECKING:
    from bsbpool.caching.ids import CacheId


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
        from bsbpool.caching.copies import Copies  # imports hashlib, which is slow

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
