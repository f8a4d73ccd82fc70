"""Areas of a terminal that are drawn again and again, while other output goes on.

`LiveScreen` is for a terminal that only this process writes to: its output is redirected to lines
above the area. `SharedScreen` is for a terminal to which the launcher of MPI writes the output of
all ranks. It leaves the cursor in the line before the area, where that output goes, and draws the
area below it again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

from bsbpool.naming import printable
from bsbpool.process import in_children

_screens: list[Screen] = []
"""The screen that is in use: one for a process."""


class Screen(Protocol):
    """A part of a terminal."""

    @property
    def width(self) -> int:
        """The number of columns."""

    @property
    def height(self) -> int:
        """The number of lines."""

    def draw(self, content: Any) -> None:
        """Show an object of `rich` in place of the one before."""

    def print(self, lines: Sequence[str], style: str = "") -> None:
        """Print lines that stay; only the first one in the style."""

    def close(self) -> None:
        """Clear the area."""


def open_screen(make: Callable[[], Screen]) -> Screen:
    """Return a new screen, or one that shows lines only while another one is in use."""
    if _screens:
        return LinesOnly()
    screen = make()
    _screens.append(screen)
    return screen


def close_screen(screen: Screen) -> None:
    """Close a screen, so that the next one can be opened."""
    if screen in _screens:
        _screens.remove(screen)
    screen.close()


class LinesOnly:
    """Prints lines to standard error and draws nothing."""

    width, height = 80, 24

    def draw(self, content: Any) -> None:
        """Do nothing."""

    def print(self, lines: Sequence[str], style: str = "") -> None:
        """Print lines."""
        for line in lines:
            print(printable(line, sys.stderr), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing."""


class LiveScreen:
    """The area of `rich` at the end of the output of this process.

    Parameters
    ----------
    file : file
        A terminal.
    """

    def __init__(self, file: TextIO) -> None:
        from rich.live import Live

        self._streams = sys.stdout, sys.stderr
        in_children(_restore_streams)
        self._console = make_console(file)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # Only what goes to a terminal: a file gets the output unchanged.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )
        # In the thread of the caller, before jobs replace the streams for a while.
        self._live.start()

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self._console.width)

    @property
    def height(self) -> int:
        """The number of lines."""
        return int(self._console.height)

    def draw(self, content: Any) -> None:
        """Show an object of `rich` in place of the one before."""
        self._live.update(content, refresh=True)

    def print(self, lines: Sequence[str], style: str = "") -> None:
        """Print lines that stay, above the area."""
        print_lines(self._console, lines, style)

    def close(self) -> None:
        """Clear the area."""
        self._live.stop()

    def leave_streams(self) -> None:
        """Redirect no output any more, and draw nothing: in a forked child."""
        sys.stdout, sys.stderr = self._streams


def _restore_streams() -> None:
    """Let a forked child print: a thread of the parent may hold the lock of the screen."""
    for screen in _screens:
        if isinstance(screen, LiveScreen):
            screen.leave_streams()
    _screens.clear()


class SharedScreen:
    """An area below the cursor of a terminal that other processes write to.

    Parameters
    ----------
    file : file
        The terminal, which is closed with this screen.
    is_usable : callable
        Whether something can be drawn now; asked each time.
    """

    GAP = 2
    """Empty lines between the cursor and the area, for output of several lines at once."""

    def __init__(self, file: TextIO, is_usable: Callable[[], bool]) -> None:
        self._file = file
        self._is_usable = is_usable
        self._console = make_console(file)

    @property
    def width(self) -> int:
        """The number of columns."""
        return os.get_terminal_size(self._file.fileno()).columns

    @property
    def height(self) -> int:
        """The number of lines."""
        return max(1, os.get_terminal_size(self._file.fileno()).lines - self.GAP - 1)

    def draw(self, content: Any) -> None:
        """Show an object of `rich` in place of the one before."""
        if self._is_usable():
            self._console.width, self._console.height = self.width, self.height
            with self._console.capture() as captured:
                self._console.print(content)
            lines = captured.get().splitlines()[: self.height]
            self._write(area_below([*[""] * self.GAP, *lines]))

    def print(self, lines: Sequence[str], style: str = "") -> None:
        """Print lines that stay, before the area."""
        if self._is_usable():
            with self._console.capture() as captured:
                print_lines(self._console, lines, style)
            self._write(f"{CLEAR}{captured.get()}")

    def close(self) -> None:
        """Clear the area."""
        if self._is_usable():
            self._write(CLEAR)
        self._file.close()

    def _write(self, text: str) -> None:
        # One call, so that the output of other processes does not come in between.
        os.write(self._file.fileno(), text.encode(errors="replace"))


CLEAR = "\x1b[J"
"""Clears the terminal from the cursor on."""


def area_below(lines: Sequence[str]) -> str:
    """Return the text that shows lines below the cursor, which stays where it is.

    The terminal is scrolled first, since a position that is saved would not scroll with it.
    """
    n = len(lines)
    scroll = "\x1bD" * n + f"\x1b[{n}A"
    return f"{CLEAR}{scroll}\x1b7" + "".join(f"\r\n{line}" for line in lines) + "\x1b8"


def make_console(file: TextIO) -> Any:
    """Return a console of `rich` for a terminal."""
    from rich.console import Console

    return Console(file=file, highlight=False, soft_wrap=False)


def print_lines(console: Any, lines: Sequence[str], style: str) -> None:
    """Print lines to a console; the first one in a style."""
    from rich.text import Text

    first, *others = lines
    text = Text(printable(first, console.file), style=style)
    for line in others:
        text.append("\n" + printable(line, console.file), style="default")
    console.print(text, soft_wrap=True)
