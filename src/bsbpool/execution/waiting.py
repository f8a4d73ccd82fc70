"""When listeners have to be called though nothing happened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bsbpool.pool import JobPool


class Pacer:
    """Keeps the pace of pings that the listeners of a pool asked for."""

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool
        self._due = float("inf")
        self.reset()

    def reset(self) -> None:
        """Count from now: something happened."""
        self._due = time.monotonic() + self._pool._reporter.event_queue.max_wait

    @property
    def seconds(self) -> float:
        """How long until the next ping; infinite-like when nobody listens."""
        return max(self._due - time.monotonic(), 0.0)

    def ping_if_due(self) -> None:
        """Ping when it is time. A late ping does not bring the next one forward in a burst."""
        now = time.monotonic()
        if now < self._due:
            return
        self._pool.ping()
        self._due += self._pool._reporter.event_queue.max_wait
        if self._due <= now:
            self._due = now + self._pool._reporter.event_queue.max_wait
