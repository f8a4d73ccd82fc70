"""The items of a map: read at once, or as far ahead as the caller allows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from bsbpool.futures.chunk_sizes import ChunkSizer


class MapItems:
    """Reads the items of a map.

    Parameters
    ----------
    items : iterable
        The items.
    buffersize : int or None
        The largest number of items that were read and whose results were not taken yet; None
        reads all items immediately.

    Attributes
    ----------
    exhausted : bool
        Whether no more items will be read.
    error : BaseException or None
        The error that stopped the reading; None at the end of the items.
    """

    def __init__(self, items: Iterable[Any], buffersize: int | None) -> None:
        self._buffersize = buffersize
        self._n_left = 0
        self._known: list[Any] = []
        if buffersize is None:
            items = self._known = list(items)
            self._n_left = len(items)
        self._iterator: Iterator[Any] = iter(items)
        self._n_ahead = 0
        self.exhausted = False
        self.error: BaseException | None = None

    def read(self, sizer: ChunkSizer) -> list[Any]:
        """Return the items of the next chunk; an empty list when the buffer is full."""
        if self._buffersize is None:
            n_free = sizer.next(self._n_left)
        else:
            n_free = min(sizer.next(self._buffersize), self._buffersize - self._n_ahead)
        items: list[Any] = []
        try:
            items.extend(itertools.islice(self._iterator, n_free))  # keeps items before an error
        except Exception as error:
            self.stop(error)
        self._n_left -= len(items)
        self._n_ahead += len(items)
        if len(items) < n_free or (self._buffersize is None and self._n_left == 0):
            self.exhausted = True
        return items

    @property
    def n_known(self) -> int | None:
        """The number of items that were read at once and not sent yet; None with a buffer."""
        return self._n_left if self._buffersize is None else None

    def take_known(self) -> list[Any]:
        """Return the items that were read at once; the second call returns an empty list."""
        known, self._known = self._known, []
        return known

    def result_taken(self) -> None:
        """Make space for another item, because the result of one was taken."""
        self._n_ahead -= 1

    def stop(self, error: BaseException) -> None:
        """Read no more items; `error` is raised after all results."""
        self.error = self.error or error
        self.exhausted = True
