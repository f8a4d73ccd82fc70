"""The pools of this process whose ``with`` block is entered."""

from __future__ import annotations

import itertools
import threading

from bsbpool._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from bsbpool.run_context import RunContext


class OpenPools:
    """The open pools by their ids.

    Attributes
    ----------
    reserved : set of int
        The ids of all pools that are open or can still be entered.
    """

    def __init__(self) -> None:
        self._contexts: dict[int, RunContext] = {}
        self._folders: dict[int, TemporaryDirectory[str]] = {}
        self._lock = threading.Lock()
        self.reserved: set[int] = set()

    def __len__(self) -> int:
        return len(self._contexts)

    def reserve(self, id: int) -> int:
        """Return the smallest free id from `id` on, and reserve it.

        Ids that are made from the time repeat, and two pools must not share one.
        """
        free = next(n for n in itertools.count(id) if n not in self.reserved)
        self.reserved.add(free)
        return free

    def add(self, id: int, context: RunContext) -> None:
        """Add a pool whose ``with`` block begins."""
        self._contexts[id] = context

    def remove(self, id: int) -> None:
        """Remove a pool and its folder, and release its id."""
        self._contexts.pop(id, None)
        self.reserved.discard(id)
        folder = self._folders.pop(id, None)
        if folder is not None:
            folder.cleanup()

    def owner(self, id: int) -> Any:
        """Return the owner of an open pool."""
        return self._contexts[id].owner

    def folder(self, id: int) -> str:
        """Return the temporary folder of an open pool, which is made on first use."""
        with self._lock:
            if id not in self._folders and self._contexts[id]:
                from tempfile import TemporaryDirectory  # slow to import, rarely used

                self._folders[id] = TemporaryDirectory(prefix="bsbpool-")
            return self._folders[id].name

    def needed_by_others(self, context: RunContext) -> set[int]:
        """Return the cache tokens that other pools of the same owner need.

        There are such pools while a job has a pool of its own.
        """
        needed: set[int] = set()
        for other in list(self._contexts.values()):
            if other is not context and other.owner is context.owner is not None:
                needed.update(other.run.needed_tokens())
        return needed


open_pools = OpenPools()
