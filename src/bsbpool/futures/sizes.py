"""How many items of a map travel together.

A chunk is to be about a millisecond of work, since the pool needs some microseconds for each, but
no larger than leaves enough for all workers.
"""

from __future__ import annotations

SECONDS_A_CHUNK = 1e-3
SECONDS_A_BYTE = 1e-6 / 1024
"""What sending counts for: a KiB as a microsecond."""
MOST_GROWTH = 8
"""By how much a chunk may be larger than those before it."""


class Sizes:
    """Chooses how many items a chunk gets.

    Parameters
    ----------
    fixed : int or None
        The number, where the caller gave it.
    n_workers : int
        How many share the items.
    overhead : float
        Seconds that each chunk costs by itself.
    """

    def __init__(self, fixed: int | None, n_workers: int, overhead: float = 0.0) -> None:
        self._fixed = fixed
        self._n_workers = n_workers
        self._seconds = SECONDS_A_CHUNK + overhead
        self._an_item: float | None = None
        self._last = 1

    def saw(self, items: int, seconds: float, size: int) -> None:
        """Learn how long a chunk took, and how many bytes travelled for it."""
        took = (seconds + SECONDS_A_BYTE * size) / items
        seen = self._an_item
        # At once when it gets longer, so that no worker has too much.
        self._an_item = took if seen is None or took > seen else (seen + took) / 2

    def next(self, left: int) -> int:
        """Return how many items to take when so many are left."""
        if self._fixed is not None:
            return self._fixed
        if self._an_item is None:
            return 1
        wanted = int(self._seconds / max(self._an_item, 1e-9))
        fair = left // (2 * self._n_workers)
        self._last = max(1, min(wanted, fair, self._last * MOST_GROWTH))
        return self._last
