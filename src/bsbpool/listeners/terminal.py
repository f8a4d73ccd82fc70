"""A listener that shows bars on a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from bsbpool.listeners.counting import CountingListener, interval
from bsbpool.listeners.kinds import KindCounts
from bsbpool.listeners.launchers_terminal import find_launchers_terminal
from bsbpool.listeners.rates import Rate, clock_text, rate_text
from bsbpool.listeners.screens import (
    LinesOnly,
    OwnScreen,
    Screen,
    SharedScreen,
    close_screen,
    open_screen,
)
from bsbpool.listeners.streams import is_drawable, require
from bsbpool.listeners.summary import (
    MOST_ROWS,
    further_failures,
    rows_of,
    states_text,
    summary_line,
    summary_rows,
)
from bsbpool.naming import printable, shortened

DRAWINGS_PER_SECOND = 5.0
MOST_PER_SECOND = 10.0
LINES_AROUND = 3
"""Lines of a terminal that are not used for rows."""
SHORT = 2.0
"""The summary of a shorter run without failures has one line."""
NARROW = 70
"""With fewer columns, some columns are left out."""


class TerminalListener(CountingListener):
    """Shows a bar for each kind of job on a terminal, with `rich`.

    A row has the jobs that have ended, their rate, the estimated time that is left, and the jobs
    that are running, failed, cancelled or aborted. Failures are printed as they occur, and a
    summary at the end.

    Parameters
    ----------
    file : file, optional
        The terminal; by default standard error, or the terminal of the launcher if the ranks write
        to a pipe.
    fps : float
        How often the bars are drawn in a second, at most 10 times.

    Raises
    ------
    DependencyError
        If rich is not installed.

    Examples
    --------
    >>> from bsbpool import create_job_pool
    >>> from bsbpool.listeners import TerminalListener
    >>> pool = create_job_pool(quiet=True)
    >>> pool.add_listener(TerminalListener(fps=2))
    """

    def __init__(self, file: TextIO | None = None, fps: float = DRAWINGS_PER_SECOND) -> None:
        require("rich")
        super().__init__(interval(fps, MOST_PER_SECOND))
        self._file = file
        self._screen: Screen | None = None

    def start_display(self) -> None:
        """Open the screen."""
        self._screen = open_screen(self._make_screen)

    def _make_screen(self) -> Screen:
        if self._file is None and not (sys.stderr is not None and sys.stderr.isatty()):
            terminal = find_launchers_terminal()
            if terminal is not None:
                return SharedScreen(terminal.file, terminal.is_usable)
        if self._file is None and not is_drawable(sys.stderr):
            return LinesOnly()
        return OwnScreen(self._file or sys.stderr)

    def show(self) -> None:
        """Draw the bars."""
        screen = self._screen  # `show_end` sets it to None
        if screen is not None:
            screen.draw(self._table(screen))

    def show_failure(self, lines: list[str]) -> None:
        """Print a failure above the bars."""
        if self._screen is not None:
            first, *frames = lines
            with suppress(OSError, ValueError):
                self._screen.print([first, *(f"    {frame}" for frame in frames)], "red")

    def show_end(self) -> None:
        """Replace the bars by a summary."""
        screen, self._screen = self._screen, None
        if screen is None:
            return
        if self.kinds.all():
            self._print_summary(screen)
        with suppress(OSError, ValueError):
            close_screen(screen)

    def _print_summary(self, screen: Screen) -> None:
        seconds = time.monotonic() - self.began
        lines = [summary_line(self, seconds)]
        if seconds >= SHORT or self.kinds.sum().unsuccessful:
            lines += summary_rows(self)
        if further := further_failures(self):
            lines.insert(0, f"bsbpool: {further}")
        # A terminal that was closed must not end a run.
        with suppress(OSError, ValueError):
            screen.print(lines, "bold")

    # ------------------------------------------------------------ drawing

    def _table(self, screen: Screen) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        most = max(2, min(MOST_ROWS, screen.height - LINES_AROUND))
        kinds = rows_of(self.kinds.all(), most)
        total = self.kinds.sum()
        wide = screen.width >= NARROW
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(12, screen.width // 3))
        table.add_column(ratio=1)
        for _ in range(4 if wide else 1):
            table.add_column(no_wrap=True, justify="right")
        if wide:
            table.add_column(no_wrap=True, overflow="ellipsis")
        for kind in kinds:
            table.add_row(*self._cells(kind, self.speeds.of(kind), wide))
        if len(kinds) > 1:
            total.name = "all jobs"
            table.add_row(*self._cells(total, self.speeds.all, wide), style="bold")
        text = Text(self._status_text(total), style="dim", no_wrap=True, overflow="ellipsis")
        return Group(table, text)

    def _cells(self, counts: KindCounts, rate: Rate, wide: bool) -> list[Any]:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        done, total = counts.done, counts.total
        finished = "red" if counts.unsuccessful else "bar.finished"
        bar = ProgressBar(total or 1, done, complete_style="cyan", finished_style=finished)
        name = Text(printable(shortened(counts.name), sys.stderr))
        cells = [name, bar, f"{done}/{total}"]
        if not wide:
            return cells
        states = Text(states_text(counts))
        states.highlight_regex(r"\d+ (failed|aborted)", "bold red")
        seconds = rate.seconds_left(counts.left) if counts.left else None
        left = "" if seconds is None else clock_text(seconds)
        share = f"{done / total:.0%}" if total else ""
        return [*cells, share, rate_text(rate.per_second), left, states]

    def _status_text(self, total: KindCounts) -> str:
        elapsed = clock_text(time.monotonic() - self.began)
        n_workers, busy = self.workers()
        parts = [self.phase, elapsed]
        if busy is not None:
            parts.append(f"{n_workers} worker{'s' * (n_workers != 1)} busy {busy:.0%} so far")
        if further := further_failures(self):
            parts.append(further)
        return " · ".join(filter(None, parts))
