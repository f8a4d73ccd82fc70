"""How long jobs take, by the run times of those that have ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bsbpool._core.jobs.job_times import JobTimes
from bsbpool._core.scheduling.engine import Engine
from bsbpool.jobs import Job
from bsbpool.status import FINISHED

SHARE = 0.95
"""The share of the jobs of one name that took at most the estimate."""
MOST_KEPT = 1_000
"""The number of run times that are kept for each name."""


class LimitedRun(Protocol):
    """The part of a `RunContext` that the limit uses."""

    engine: Engine
    jobs: list[Job[Any]]
    times: JobTimes | None

    @property
    def lock(self) -> AbstractContextManager[Any, Any]:
        """Held while the status of a job and data that belong to it change together."""


class RunTimes:
    """Estimates the run times of jobs from those of the same name.

    Parameters
    ----------
    context : LimitedRun
        The run; its jobs have times.

    Attributes
    ----------
    longest : float
        The longest estimate in seconds; 0 if there is none.
    """

    def __init__(self, context: LimitedRun) -> None:
        self._context = context
        self._unfinished: list[int] = []
        self._n_seen = 0
        self._times: defaultdict[str, list[float]] = defaultdict(list)
        self._estimates: dict[str, float] = {}
        self.longest = 0.0

    def update(self) -> None:
        """Take the jobs into account that have ended, or were queued, since the last call."""
        context, status = self._context, self._context.engine.status
        n = len(context.jobs)
        numbers = [*self._unfinished, *range(self._n_seen, n)]
        self._n_seen = n
        self._unfinished = []
        for number in numbers:
            if status(number) in FINISHED:
                self._add(number)
            else:
                self._unfinished.append(number)
        for name, times in self._times.items():
            times.sort()
            self._estimates[name] = times[min(int(SHARE * len(times)), len(times) - 1)]
            del times[: -MOST_KEPT]
        self.longest = max(self._estimates.values(), default=0.0)

    def _add(self, number: int) -> None:
        assert self._context.times is not None
        run_ns, ended = self._context.times.entry(number)[3::4]
        if ended:
            self._times[self._context.jobs[number].name].append(run_ns * 1e-9)

    def unfinished(self) -> Iterator[int]:
        """Iterate over the numbers of the jobs that had not ended at the last update."""
        return iter(self._unfinished)

    def of(self, name: str, unknown: float) -> float:
        """Return the estimated run time of jobs of a name in seconds.

        Parameters
        ----------
        name : str
            The name of the job.
        unknown : float
            What to return if no job of this name has ended.
        """
        return self._estimates.get(name, unknown)
