"""How long jobs take, by the run times of those that have ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bsbpool._core.jobs.job_times import JobTimes
from bsbpool._core.scheduling.engine import Engine
from bsbpool.events import EventQueue
from bsbpool.jobs import Job
from bsbpool.naming import kind_of
from bsbpool.status import FINISHED

SHARE = 0.95
"""The share of the jobs of one kind that took at most the estimate."""
MOST_KEPT = 1_000
"""The number of run times that are kept for each kind: those of the last jobs."""


class LimitedRun(Protocol):
    """The part of a `RunContext` that the limit uses."""

    engine: Engine
    events: EventQueue
    jobs: list[Job[Any]]
    times: JobTimes | None

    @property
    def lock(self) -> AbstractContextManager[Any, Any]:
        """Held while the status of a job and data that belong to it change together."""


class RunTimes:
    """Estimates the run times of jobs from those of the same kind.

    Parameters
    ----------
    context : LimitedRun
        The run; its jobs have times.

    Attributes
    ----------
    unfinished : list of int
        The numbers of the jobs that had not ended at the last update.
    longest : float
        The longest estimate in seconds; 0 if there is none.
    """

    def __init__(self, context: LimitedRun) -> None:
        self._context = context
        self._n_seen = 0
        self._times: dict[str, deque[float]] = {}
        self._estimates: dict[str, float] = {}
        self.unfinished: list[int] = []
        self.longest = 0.0

    def update(self) -> None:
        """Take the jobs into account that have ended, or were queued, since the last call."""
        status = self._context.engine.status
        n = len(self._context.jobs)
        numbers = [*self.unfinished, *range(self._n_seen, n)]
        self._n_seen = n
        self.unfinished = []
        changed = set()
        for number in numbers:
            if status(number) not in FINISHED:
                self.unfinished.append(number)
            elif (seconds := self._run_time(number)) is not None:
                kind = kind_of(self._context.jobs[number])
                self._times.setdefault(kind, deque(maxlen=MOST_KEPT)).append(seconds)
                changed.add(kind)
        for kind in changed:
            self._estimates[kind] = estimate(self._times[kind])
        self.longest = max(self._estimates.values(), default=0.0)

    def _run_time(self, number: int) -> float | None:
        """Return the run time of a job in seconds; None if it did not run to its end."""
        assert self._context.times is not None
        _, _, _, run_ns, _, _, _, n_ends = self._context.times.entry(number)
        return run_ns * 1e-9 if n_ends else None

    def of(self, job: Job[Any], unknown: float) -> float:
        """Return the estimated run time of a job in seconds.

        Parameters
        ----------
        job : Job
            The job.
        unknown : float
            The result if no job of this kind has ended.
        """
        return self._estimates.get(kind_of(job), unknown)


def estimate(times: Sequence[float] | deque[float]) -> float:
    """Return the time within which most jobs end; the longest time of fewer than 20 jobs."""
    return sorted(times)[min(int(SHARE * len(times)), len(times) - 1)]
