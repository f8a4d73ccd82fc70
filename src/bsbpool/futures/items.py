"""What a map calls its function with: read at once, or as far ahead as the caller allows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from bsbpool.futures.sizes import Sizes


class Items:
    """The items of a map.

    Parameters
    ----------
    items : iterable
        Where they come from.
    buffersize : int or None
        How many may be read and not taken as results; None to read all of them now.

    Attributes
    ----------
    exhausted : bool
        Whether nothing more is to be read.
    error : BaseException or None
        Why, when that is not the end of the items.
    """

    def __init__(self, items: Iterable[Any], buffersize: int | None) -> None:
        self._buffersize = buffersize
        self._left = 0
        self._known: list[Any] = []
        if buffersize is None:
            items = self._known = list(items)
            self._left = len(items)
        self._iterator: Iterator[Any] = iter(items)
        self._ahead = 0
        self.exhausted = False
        self.error: BaseException | None = None

    def read(self, sizes: Sizes) -> list[Any]:
        """Return the items of a chunk; none when there is no room for any."""
        if self._buffersize is None:
            room = sizes.next(self._left)
        else:
            room = min(sizes.next(self._buffersize), self._buffersize - self._ahead)
        items: list[Any] = []
        try:
            items.extend(itertools.islice(self._iterator, room))  # keeps what precedes an error
        except Exception as error:
            self.stop(error)
        self._left -= len(items)
        self._ahead += len(items)
        if len(items) < room or (self._buffersize is None and self._left == 0):
            self.exhausted = True
        return items

    def take_known(self) -> list[Any]:
        """Return the items that were read at once; later calls return none."""
        known, self._known = self._known, []
        return known

    def taken(self) -> None:
        """Note that the result of one was taken."""
        self._ahead -= 1

    def stop(self, error: BaseException) -> None:
        """Read no more, for a reason that is told after all results."""
        self.error = self.error or error
        self.exhausted = True
