"""The base class of displays: it counts jobs, and tells a display what to show and when.

A display has a thread of its own that shows the counts some times in a second, so a record costs
the rank that schedules the jobs little more than to count it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bsbpool.exceptions import WorkerLostError
from bsbpool.jobs import Job
from bsbpool.listeners.base import Listener
from bsbpool.listeners.failures import failure_lines, failure_of_job
from bsbpool.listeners.kinds import KindCounts, Kinds
from bsbpool.listeners.rates import Speeds
from bsbpool.listeners.refresher import Refresher
from bsbpool.naming import safely
from bsbpool.progress import PoolProgress, PoolProgressReason
from bsbpool.status import JobStatus, PoolStatus

ADDED, CHANGED = PoolProgressReason.JOB_ADDED, PoolProgressReason.JOB_STATUS_CHANGE
POOL_CHANGED = PoolProgressReason.POOL_STATUS_CHANGE
QUEUED, RUNNING, SUCCESS = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCESS
FAILED, CANCELLED, ABORTED = JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ABORTED

MOST_FAILURES = 10
"""Failures that are shown; further ones are only counted."""


class CountingListener(Listener):
    """Counts the jobs of a pool by kind and by status.

    Subclasses show the counts: in `show`, which a thread calls, and in `show_failure` and
    `show_end`. After an interrupt, a timeout or a failure, the counts are those of the jobs.

    Parameters
    ----------
    seconds : float or None
        The interval between two calls of `show`; with None they are made by `__call__`.

    Attributes
    ----------
    kinds : Kinds
        The counts.
    speeds : Speeds
        How fast they change.
    began : float
        When the run or, before that, the first job began, on the clock of `time.monotonic`.
    phase : str
        The phase of the workflow; empty without one.
    """

    def __init__(self, seconds: float | None) -> None:
        self.kinds = Kinds()
        self.speeds = Speeds(self.kinds)
        self.began = 0.0
        self.phase = ""
        self._by_number: list[KindCounts | None] = []
        self._pool: Any = None
        self._load: Callable[[], tuple[int, float | None]] | None = None
        self._shown = self._ended = False
        self._n_failures = 0
        self._refresher = None if seconds is None else Refresher(self.show, seconds)

    def __enter__(self) -> CountingListener:
        self._ended = False
        return self

    def __exit__(self, *error: Any) -> None:
        self.end()

    # ------------------------------------------------------------ counting

    def __call__(self, progress: PoolProgress) -> Any:
        """Count a record."""
        reason = progress.reason
        if reason is CHANGED:
            status = progress.status
            if status is not QUEUED:
                self._count(progress, status)
            elif progress.old_status is RUNNING:  # type: ignore[attr-defined]
                self._kind_of(progress.job).running -= 1  # type: ignore[attr-defined]
        elif reason is ADDED:
            self._add(progress)
        elif reason is POOL_CHANGED:
            if progress.status is PoolStatus.CLOSING:
                self.end()
            elif self._shown:  # jobs were queued before the run
                self.began = time.monotonic()
                self.speeds.restart(self.began)

    def _count(self, progress: Any, status: JobStatus) -> None:
        job = progress.job
        kind = self._kind_of(job)
        if status is RUNNING:
            kind.running += 1
            return
        old = progress.old_status
        if old is RUNNING:
            kind.running -= 1
        elif old is SUCCESS:  # the result cannot be read
            kind.succeeded -= 1
        if status is SUCCESS:
            kind.succeeded += 1
        elif status is CANCELLED:
            kind.cancelled += 1
        elif status is FAILED:
            kind.failed += 1
            self._job_failed(job, status)
        elif status is ABORTED:
            kind.aborted += 1
            if isinstance(job.error, WorkerLostError):
                self._job_failed(job, status)

    def _add(self, progress: Any) -> None:
        if not self._shown:
            self.begin(progress.pool, progress.workflow)
        self._kind_of(progress.job).total += 1

    def _kind_of(self, job: Job[Any]) -> KindCounts:
        number, known = job.number, self._by_number
        assert number is not None
        if number < len(known):
            kind = known[number]
            if kind is not None:
                return kind
        kind = self.kinds.of_job(job)
        if number > len(known):
            known.extend([None] * (number - len(known)))
        known[number : number + 1] = [kind]
        return kind

    def _job_failed(self, job: Job[Any], status: JobStatus) -> None:
        self._n_failures += 1
        if self._n_failures <= MOST_FAILURES:
            self.show_failure(failure_of_job(job, status))

    def call_failed(self, name: str, error: BaseException) -> None:
        """Show the failure of a call of an executor."""
        self._n_failures += 1
        if self._n_failures <= MOST_FAILURES:
            self.show_failure(failure_lines(name, error))

    @property
    def is_shown(self) -> bool:
        """Whether the display has begun and not ended."""
        return self._shown

    @property
    def n_further_failures(self) -> int:
        """The number of failures that were counted and not shown."""
        return max(0, self._n_failures - MOST_FAILURES)

    # ------------------------------------------------------------ the begin and the end

    def begin(
        self,
        pool: Any = None,
        workflow: Any = None,
        load: Callable[[], tuple[int, float | None]] | None = None,
    ) -> None:
        """Begin to show the counts.

        Parameters
        ----------
        pool : JobPool, optional
            The pool that is shown.
        workflow : Workflow, optional
            Its workflow.
        load : callable, optional
            What `workers` returns if no pool is shown.
        """
        self._shown, self._ended, self._pool = True, False, pool
        self._load = load
        self.began = time.monotonic()
        self.speeds.restart(self.began)
        self.phase = "" if workflow is None else phase_text(workflow)
        self.start_display()
        if self._refresher is not None:
            self._refresher.start()

    def end(self) -> None:
        """Show the final counts, once."""
        if not self._shown or self._ended:
            return
        self._ended, self._shown = True, False
        if self._refresher is not None:
            self._refresher.stop()
        self._count_again()
        self.show_end()
        self._pool = None

    def _count_again(self) -> None:
        """Count all jobs if counts are missing: an interrupt may come while one is counted."""
        if self._pool is None or _counts_of(self.kinds.sum()) == _counts_by_status(self._pool):
            return
        for kind in self.kinds.all():
            kind.clear()
        for job in self._pool.jobs:
            kind = self._kind_of(job)
            kind.total += 1
            field = _FIELDS.get(job.status)
            if field is not None:
                setattr(kind, field, getattr(kind, field) + 1)

    # ------------------------------------------------------------ for the display

    def workers(self) -> tuple[int, float | None]:
        """Return the number of workers, and the share of the time for which they were busy."""
        if self._pool is None:
            return (0, None) if self._load is None else self._load()
        from bsbpool.statistics import load_of

        return load_of(self._pool.run_context)

    def tick(self) -> None:
        """Show the counts if it is time, in a display without a thread; counts have changed."""

    def start_display(self) -> None:
        """Prepare to show counts."""

    def show(self) -> None:
        """Show the present counts."""

    def show_failure(self, lines: list[str]) -> None:
        """Show that a job has failed."""

    def show_end(self) -> None:
        """Show the final counts."""


_FIELDS = {
    RUNNING: "running",
    SUCCESS: "succeeded",
    FAILED: "failed",
    CANCELLED: "cancelled",
    ABORTED: "aborted",
}
"""The attributes of `KindCounts` that count the statuses."""


def _counts_of(counts: KindCounts) -> tuple[int, ...]:
    return counts.total, *(getattr(counts, field) for field in _FIELDS.values())


def _counts_by_status(pool: Any) -> tuple[int, ...]:
    counts = pool.counts
    return sum(counts.values()), *(counts[status] for status in _FIELDS)


def phase_text(workflow: Any) -> str:
    """Return the name of the phase of a workflow, and its number."""

    def text() -> str:
        phases = list(workflow.phases)
        number = phases.index(workflow.phase) + 1
        return f"{workflow.phase} ({number} of {len(phases)})"

    return safely(text, workflow, "phase")
