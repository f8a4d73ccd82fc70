"""The number of items in a chunk of a map.

A chunk should take about a millisecond, because the pool needs some microseconds for each one. It
should also leave enough items for all workers.
"""

from __future__ import annotations

SECONDS_PER_CHUNK = 1e-3
SECONDS_PER_BYTE = 1e-6 / 1024
"""The assumed cost of sending: one microsecond per KiB."""
MAX_GROWTH = 8
"""The largest ratio of the sizes of consecutive chunks."""


class ChunkSizer:
    """Chooses the number of items in each chunk.

    Parameters
    ----------
    fixed : int or None
        The chunk size that the caller asked for.
    n_workers : int
        The number of workers that share the items.
    overhead : float
        The fixed cost of each chunk in seconds.
    """

    def __init__(self, fixed: int | None, n_workers: int, overhead: float = 0.0) -> None:
        self._fixed = fixed
        self._n_workers = n_workers
        self._seconds = SECONDS_PER_CHUNK + overhead
        self._seconds_per_item: float | None = None
        self._last = 1

    def record(self, items: int, seconds: float, size: int) -> None:
        """Record the run time of a chunk, and the bytes of its items and results."""
        measured = (seconds + SECONDS_PER_BYTE * size) / items
        known = self._seconds_per_item
        # Follow an increase at once, so that no worker gets too much; smooth a decrease.
        self._seconds_per_item = (
            measured if known is None or measured > known else (known + measured) / 2
        )

    def next(self, left: int) -> int:
        """Return the size of the next chunk when `left` items are left."""
        if self._fixed is not None:
            return self._fixed
        if self._seconds_per_item is None:
            return 1
        wanted = int(self._seconds / max(self._seconds_per_item, 1e-9))
        fair = left // (2 * self._n_workers)
        self._last = max(1, min(wanted, fair, self._last * MAX_GROWTH))
        return self._last
