"""The cache items of one rank in the run of a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from bsbpool.caching.copies import Copies
from bsbpool.caching.ids import ids_of
from bsbpool.caching.scope import CacheScope, cache_scope, free_items, free_stale_pool_cache


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
        return cache_scope(self._scope, Copies(self._owner) if copied else None)

    def refresh(self) -> None:
        """Do nothing; called before a job that a worker runs, and after one that runs here."""

    def free(self, tokens: Iterable[int]) -> None:
        """Free the items that no job of this pool needs any more."""
        free_items(self._scope, set(tokens) - self._needed_elsewhere())

    def free_all(self) -> None:
        """Free the items that no other pool of the owner needs: the run has ended."""
        free_stale_pool_cache(self._scope, ids_of(self._needed_elsewhere()))
