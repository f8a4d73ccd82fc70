"""The ids of the tasks that were submitted."""

from __future__ import annotations

MOST = 100_000


class History(list[str]):
    """A list of ids. The oldest ones are dropped when there are more than `MOST`."""

    def add(self, msg_id: str) -> None:
        """Append an id."""
        self.append(msg_id)
        if len(self) >= 2 * MOST:
            del self[:MOST]
