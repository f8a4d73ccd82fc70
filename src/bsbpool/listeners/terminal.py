"""Progress on a terminal, or as lines where there is none."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bsbpool.listeners.base import Listener
from bsbpool.listeners.tally import JobTally, describe, describe_unsuccessful
from bsbpool.naming import printable, shortened, without_addresses
from bsbpool.progress import PoolJobAddedProgress, PoolJobUpdateProgress, PoolProgress
from bsbpool.status import FINISHED, JobStatus, PoolStatus

if TYPE_CHECKING:
    from bsbpool.job import Job

SECONDS_A_LINE = 5.0


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
    failed = status in (JobStatus.FAILED, JobStatus.ABORTED)
    return job.label if failed else without_addresses(job.description)


class SummaryListener(Listener):
    """Prints how many jobs have ended and how, every few seconds and at the end."""

    def __init__(self, seconds: float = SECONDS_A_LINE) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def __call__(self, progress: PoolProgress) -> None:
        """Print when it is time; the pool counts, so that nothing is missed."""
        if progress.status is PoolStatus.CLOSING or time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            print(f"bsbpool: {describe(progress.counts)}", file=sys.stderr, flush=True)


class TTYTerminalListener(Listener):
    """Shows a bar for each kind of job with `rich`; a line now and then without it.

    Parameters
    ----------
    fps : float
        How often a second the bars are drawn.
    """

    MOST_BARS = 12

    def __init__(self, fps: float = 25) -> None:
        self._fps = fps
        self._tallies: dict[str, JobTally] = {}
        self._bars: dict[str, Any] = {}
        self._progress: Any = None
        self._heard: PoolProgress | None = None
        self._next = 0.0
        self._plain = None if _has_rich() else SummaryListener()

    def __enter__(self) -> TTYTerminalListener:
        return self

    def __exit__(self, *error: Any) -> None:
        if any(error) and self._heard is not None:
            self._count_again(self._heard.jobs)
        if self._progress is not None:
            self._draw()
            self._progress.stop()

    def _count_again(self, jobs: list[Job[Any]]) -> None:
        """Count all jobs: an interrupt may have come between a record and its count."""
        for tally in self._tallies.values():
            tally.counts.clear()
        for job in jobs:
            self._tally_of(job).add(job.status)

    def __call__(self, progress: PoolProgress) -> None:
        """Bring the bars up to date with a record."""
        if self._plain is not None:
            return self._plain(progress)
        self._heard = progress
        if isinstance(progress, PoolJobAddedProgress):
            self._tally_of(progress.job).add()
        elif isinstance(progress, PoolJobUpdateProgress):
            self._tally_of(progress.job).update(progress.old_status, progress.status)
        # Drawn no faster than anybody looks; not before there are jobs, since the
        # other ranks enter as well, but hear of none.
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
    """Return the listener that fits where standard error goes, and its pace."""
    if sys.stderr.isatty() and _has_room():
        return TTYTerminalListener(), None
    return SummaryListener(), SECONDS_A_LINE


def _has_room() -> bool:
    try:
        return sum(os.get_terminal_size(sys.stderr.fileno())) > 0
    except OSError:
        return False


def _has_rich() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None
