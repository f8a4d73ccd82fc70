"""The base class of displays: it counts jobs, and tells a display what to show and when.

A display has a thread of its own, which counts the jobs and shows the counts a few times in a
second, and failures when they occur. Pools make no records of jobs for it, so that a job costs the
main rank very little, and a slow terminal does not delay the thread that schedules jobs.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bsbpool.jobs import Job
from bsbpool.listeners.base import Listener
from bsbpool.listeners.failures import failure_lines
from bsbpool.listeners.kinds import Kinds
from bsbpool.listeners.polling import PoolCounter
from bsbpool.listeners.rates import Speeds
from bsbpool.listeners.refresher import Refresher
from bsbpool.naming import safely
from bsbpool.progress import PoolProgress, PoolProgressReason
from bsbpool.status import PoolStatus

MOST_FAILURES = 10
"""Failures that are shown; further ones are only counted."""
LARGEST_SHARE = 0.05
"""The share of the time that counting and drawing may take, with very many jobs."""

LoadOf = Callable[[], tuple[int, float | None]]
"""Returns the number of workers, and the share of the time for which they were busy."""


class CountingListener(Listener):
    """Counts the jobs of a pool by kind and by status, and shows the counts.

    Subclasses define `show` and `show_failure`, which a thread calls, and `show_end`. After an
    interrupt, a timeout or a failure, the final counts are those of the jobs.

    Parameters
    ----------
    seconds : float
        The interval between two calls of `show`.

    Raises
    ------
    ValueError
        If it is not positive.

    Attributes
    ----------
    kinds : Kinds
        The counts.
    speeds : Speeds
        How fast they change.
    began : float
        When the run began, on the clock of `time.monotonic`.
    phase : str
        The phase of the workflow; empty without one.
    """

    job_records = False

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds!r}")
        self.kinds = Kinds()
        self.speeds = Speeds(self.kinds)
        self.began = 0.0
        self.phase = ""
        self._seconds = seconds
        self._refresher = Refresher(self._refresh, seconds, self._show_failures)
        self._counter: PoolCounter | None = None
        self._load: LoadOf | None = None
        self._is_shown = False
        self._n_failures = 0
        self._failures: deque[tuple[str, BaseException]] = deque()
        """Those that will be shown, at most `MOST_FAILURES`."""

    def __enter__(self) -> CountingListener:
        return self

    def __exit__(self, *error: Any) -> None:
        self.end()

    def __call__(self, progress: PoolProgress) -> None:
        """Begin or end with the run of the pool, on the main rank."""
        if progress.reason is not PoolProgressReason.POOL_STATUS_CHANGE:
            return
        if progress.status is PoolStatus.CLOSING:
            self.end()
        elif progress.status is PoolStatus.EXECUTING and progress.pool.is_main():
            from bsbpool.statistics import Load

            self.begin(Load(progress.pool.run_context), progress.workflow, progress.pool)

    # ------------------------------------------------------------ the begin and the end

    def begin(self, load: LoadOf | None = None, workflow: Any = None, pool: Any = None) -> None:
        """Begin to show the counts; end the display of an earlier run that was not ended.

        Parameters
        ----------
        load : callable, optional
            Returns the load of the workers.
        workflow : Workflow, optional
            The workflow of which one phase runs.
        pool : JobPool, optional
            The pool whose jobs are counted; by default the caller updates `kinds`.
        """
        self.end()
        if pool is not None:
            self.kinds = Kinds()
            self._counter = PoolCounter(pool, self.kinds)
        self._load = load
        self._n_failures = 0
        self._failures.clear()
        self.began = time.monotonic()
        self.speeds = Speeds(self.kinds, self.began)
        self.phase = "" if workflow is None else phase_text(workflow)
        try:
            self.start_display()
        except Exception as error:  # a display must not end a run
            warnings.warn(f"The progress is not shown: {error}", RuntimeWarning, stacklevel=2)
            return
        self._is_shown = True
        self._refresher.start()

    def end(self) -> None:
        """Show the final counts, once; nothing if there were no jobs."""
        if not self._is_shown:
            return
        self._is_shown = False
        try:
            self._refresher.stop()
            self._show_failures()
            if self._counter is not None:
                self._counter.count_again()
            self.speeds.update(time.monotonic())
        finally:
            with suppress(Exception):
                self.show_end()
            self._counter = self._load = None

    def _refresh(self) -> float:
        """Count and show; return the seconds until the next time."""
        began = time.thread_time()
        if self._counter is not None:
            self._counter.update()
        self.speeds.update(time.monotonic())
        seconds = (self.show() if self.kinds.all() else None) or self._seconds
        return max(seconds, (time.thread_time() - began) / LARGEST_SHARE)

    # ------------------------------------------------------------ failures

    def job_failed(self, job: Job[Any], error: BaseException) -> None:
        """Show the failure of a job; called by the pool."""
        self.call_failed(job.label if self._n_failures < MOST_FAILURES else "", error)

    def call_failed(self, name: str, error: BaseException) -> None:
        """Show the failure of a job or call of that name.

        The thread of the display does so: the caller may hold locks of the pool.
        """
        self._n_failures += 1
        if self._is_shown and self._n_failures <= MOST_FAILURES:
            self._failures.append((name, error))
            self._refresher.wake()

    def _show_failures(self) -> None:
        while self._failures:
            with suppress(Exception):
                self.show_failure(failure_lines(*self._failures.popleft()))

    @property
    def n_further_failures(self) -> int:
        """The number of failures that were counted and not shown."""
        return max(0, self._n_failures - MOST_FAILURES)

    # ------------------------------------------------------------ for the display

    def workers(self) -> tuple[int, float | None]:
        """Return the number of workers, and the share of the time for which they were busy."""
        return (0, None) if self._load is None else self._load()

    def start_display(self) -> None:
        """Prepare to show counts."""

    def show(self) -> float | None:
        """Show the present counts; return the seconds until the next time, or None."""

    def show_failure(self, lines: list[str]) -> None:
        """Show that a job has failed."""

    def show_end(self) -> None:
        """Show the final counts."""


def interval(fps: float, most: float) -> float:
    """Return the seconds between two drawings; `most` is the largest number in a second.

    Raises
    ------
    ValueError
        If `fps` is not positive.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps!r}")
    return 1 / min(fps, most)


def phase_text(workflow: Any) -> str:
    """Return the name of the phase of a workflow, and its number."""

    def text() -> str:
        phases = list(workflow.phases)
        number = phases.index(workflow.phase) + 1
        return f"{workflow.phase} ({number} of {len(phases)})"

    return safely(text, workflow, "phase")
