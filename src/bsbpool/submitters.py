"""The jobs of each submitter."""

from __future__ import annotations

from bsbpool._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.jobs import Job


class SubmitterIndex:
    """Finds the jobs that an object submitted; built when it is first used."""

    def __init__(self) -> None:
        self._jobs: dict[int, list[Job[Any]]] = {}
        self._indexed = 0

    def jobs_of(self, submitter: object, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Return those of the pool's jobs that this object submitted, compared by identity."""
        new = jobs[self._indexed :]
        # Before the loop: a property of a submitter may call this method again.
        self._indexed += len(new)
        for job in new:
            self._jobs.setdefault(id(job.submitter), []).append(job)
        return list(self._jobs.get(id(submitter), ()))
