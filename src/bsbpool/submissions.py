"""Which jobs were queued by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.job import Job


class Submissions:
    """An index of a pool's jobs by submitter, made as far as somebody asks."""

    def __init__(self) -> None:
        self._jobs: dict[int, list[Job]] = {}
        self._seen = 0

    def of(self, submitter: Any, queue: list[Job]) -> list[Job]:
        """Return the jobs of the queue that this very object submitted."""
        # In this order: to ask for a submitter may run code that asks here.
        new = queue[self._seen :]
        self._seen += len(new)
        for job in new:
            self._jobs.setdefault(id(job.submitter), []).append(job)
        return list(self._jobs.get(id(submitter), ()))
