"""The time at which the listeners are called although no event occurred."""

from __future__ import annotations

import time

from bsbpool._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bsbpool.events import EventQueue


class PingTimer:
    """Counts the seconds without an event.

    Parameters
    ----------
    events : EventQueue
        Its `max_wait` is the interval.
    """

    def __init__(self, events: EventQueue) -> None:
        self._events = events
        self._due = 0.0
        self.reset()

    def reset(self) -> None:
        """Count from now on: an event occurred."""
        self._due = time.monotonic() + self._events.max_wait

    @property
    def seconds(self) -> float:
        """The seconds until the next ping."""
        return max(self._due - time.monotonic(), 0.0)

    def take_due(self) -> bool:
        """Return whether a ping is due, and begin the next interval.

        Intervals that were missed give no further pings.
        """
        now = time.monotonic()
        if now < self._due:
            return False
        self._due += self._events.max_wait
        if self._due <= now:
            self._due = now + self._events.max_wait
        return True
