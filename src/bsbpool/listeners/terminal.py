"""Listeners that print progress: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from typing import Any

from bsbpool.jobs import Job
from bsbpool.listeners.base import Listener
from bsbpool.listeners.tally import JobTally, describe, describe_unsuccessful
from bsbpool.naming import printable, shortened, without_addresses
from bsbpool.progress import PoolJobAddedProgress, PoolJobUpdateProgress, PoolProgress
from bsbpool.status import ERRONEOUS, FINISHED, JobStatus, PoolStatus

SECONDS_PER_LINE = 5.0


class NonTTYTerminalListener(Listener):
    """Prints a line when a job starts or ends."""

    def __call__(self, progress: PoolProgress) -> None:
        """Print a record."""
        if not isinstance(progress, PoolJobUpdateProgress):
            return
        if progress.status in FINISHED or progress.status is JobStatus.RUNNING:
            phase = f" [{progress.workflow.phase}]" if progress.workflow else ""
            line = f"[{datetime.now():%Y-%m-%d %H:%M:%S} - BSB]{phase} {progress.status} "
            line += _text_of(progress.job, progress.status)
            print(printable(line, sys.stdout), flush=True)


def _text_of(job: Job[Any], status: JobStatus) -> str:
    return job.label if status in ERRONEOUS else without_addresses(job.description)


class SummaryListener(Listener):
    """Prints the number of jobs by status, every few seconds and at the end.

    Parameters
    ----------
    seconds : float
        Seconds between two lines.
    """

    def __init__(self, seconds: float = SECONDS_PER_LINE) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def __call__(self, progress: PoolProgress) -> None:
        """Print the counts of the pool if the interval has passed or the pool closes."""
        if progress.status is PoolStatus.CLOSING or time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            print(f"bsbpool: {describe(progress.counts)}", file=sys.stderr, flush=True)


class TTYTerminalListener(Listener):
    """Shows a progress bar for each job name with `rich`; prints summary lines without `rich`.

    Parameters
    ----------
    fps : float
        Maximum number of updates per second.
    """

    MOST_BARS = 12

    def __init__(self, fps: float = 25) -> None:
        self._fps = fps
        self._tallies: dict[str, JobTally] = {}
        self._bars: dict[str, Any] = {}
        self._progress: Any = None
        self._last_record: PoolProgress | None = None
        self._next = 0.0
        self._summary = None if _is_rich_installed() else SummaryListener()

    def __enter__(self) -> TTYTerminalListener:
        return self

    def __exit__(self, *error: Any) -> None:
        if any(error) and self._last_record is not None:
            self._count_again(self._last_record.jobs)
        if self._progress is not None:
            self._draw()
            self._progress.stop()

    def _count_again(self, jobs: list[Job[Any]]) -> None:
        """Count all jobs again: an interrupt may have come between a record and its count."""
        for tally in self._tallies.values():
            tally.counts.clear()
        for job in jobs:
            self._tally_of(job).add(job.status)

    def __call__(self, progress: PoolProgress) -> None:
        """Update the bars from a record."""
        if self._summary is not None:
            return self._summary(progress)
        self._last_record = progress
        if isinstance(progress, PoolJobAddedProgress):
            self._tally_of(progress.job).add()
        elif isinstance(progress, PoolJobUpdateProgress):
            self._tally_of(progress.job).update(progress.old_status, progress.status)
        # Not before there are jobs: the listeners of other ranks are entered as well, but get
        # no records of jobs.
        if self._tallies and time.monotonic() >= self._next:
            self._next = time.monotonic() + 1 / self._fps
            self._draw()

    def _tally_of(self, job: Job[Any]) -> JobTally:
        name = job.name
        if name not in self._tallies and len(self._tallies) >= self.MOST_BARS:
            name = "others"
        return self._tallies.setdefault(name, JobTally())

    def _draw(self) -> None:
        if self._progress is None:
            self._start()
        for name, tally in self._tallies.items():
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(
                    printable(shortened(name), sys.stderr), total=0, note=""
                )
            self._progress.update(
                self._bars[name],
                total=tally.total,
                completed=tally.succeeded,
                note=describe_unsuccessful(tally.counts),
            )

    def _start(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            Elapsed(),
            auto_refresh=True,
            refresh_per_second=self._fps,
        )
        self._progress.start()


def terminal_listener() -> tuple[Listener, float | None]:
    """Return a listener that suits standard error, and its `max_wait` in seconds or None."""
    if sys.stderr.isatty() and _has_known_size():
        return TTYTerminalListener(), None
    return SummaryListener(), SECONDS_PER_LINE


def _has_known_size() -> bool:
    try:
        return sum(os.get_terminal_size(sys.stderr.fileno())) > 0
    except OSError:
        return False


def _is_rich_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None
