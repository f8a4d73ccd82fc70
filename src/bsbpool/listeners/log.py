"""A listener that prints lines about the progress, for batch logs and pipes."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TextIO

from bsbpool.listeners.counting import CountingListener
from bsbpool.listeners.summary import (
    further_failures,
    progress_line,
    summary_line,
    summary_rows,
)
from bsbpool.naming import printable

SECONDS_PER_LINE = 5.0
SLOWER = ((600.0, 12.0), (60.0, 3.0))
"""After so many seconds, an interval is so many times longer."""


class LogListener(CountingListener):
    """Prints lines: the counts every few seconds, each failure, and a summary at the end.

    Parameters
    ----------
    file : file, optional
        The file that is written to; by default what `sys.stderr` is then.
    seconds : float
        Seconds between two lines; three times as many after a minute, and twelve times as many
        after ten minutes.

    Examples
    --------
    >>> import sys
    >>> from bsbpool import create_job_pool
    >>> from bsbpool.listeners import LogListener
    >>> pool = create_job_pool(quiet=True)
    >>> pool.add_listener(LogListener(sys.stdout))
    >>> with pool:
    ...     job = pool.submit(lambda owner: 1)
    ...     pool.execute()  # doctest: +ELLIPSIS
    bsbpool: 1/1 jobs succeeded in 0.0 s...
    """

    def __init__(self, file: TextIO | None = None, seconds: float = SECONDS_PER_LINE) -> None:
        super().__init__(seconds)
        self._file = file
        self._interval = seconds
        self._printed = False

    def start_display(self) -> None:
        """Begin with no lines."""
        self._printed = False

    def show(self) -> float:
        """Print the present counts; return the seconds until the next line."""
        self._printed = True
        self._print(progress_line(self))
        elapsed = time.monotonic() - self.began
        return self._interval * next((factor for after, factor in SLOWER if elapsed >= after), 1.0)

    def show_failure(self, lines: list[str]) -> None:
        """Print a failure."""
        first, *frames = lines
        self._print(f"bsbpool: {first}", *(f"    {frame}" for frame in frames))

    def show_end(self) -> None:
        """Print the summary: the counts of each kind too if the run was long or jobs failed."""
        if not self.kinds.all():
            return
        lines = [summary_line(self, time.monotonic() - self.began)]
        if self._printed or self.kinds.sum().unsuccessful:
            lines += summary_rows(self)
        if further := further_failures(self):
            lines.insert(0, f"bsbpool: {further}")
        self._print(*lines)

    def _print(self, *lines: str) -> None:
        file = sys.stderr if self._file is None else self._file
        if file is None:  # the program was started without a standard error
            return
        # A file that is closed or full must not end a run.
        with suppress(OSError, ValueError):
            file.write("".join(f"{printable(line, file)}\n" for line in lines))
            file.flush()
