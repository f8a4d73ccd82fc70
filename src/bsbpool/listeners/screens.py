"""Areas of a terminal that are drawn again and again, while other output goes on.

A screen leaves the cursor in the line before the area, where other output goes, and draws the area
below it again. `SharedScreen` is for a terminal to which the launcher of MPI writes the output of
all ranks, `OwnScreen` for one that this process writes to.
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
        for line in lines if sys.stderr is not None else ():
            print(printable(line, sys.stderr), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Do nothing."""


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
        return self._size()[0]

    @property
    def height(self) -> int:
        """The number of lines."""
        return max(1, self._size()[1] - self.GAP - 1)

    def _size(self) -> tuple[int, int]:
        try:
            return os.get_terminal_size(self._file.fileno())
        except OSError:  # not a terminal
            return 80, 24

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


class OwnScreen(SharedScreen):
    """An area of a terminal that this process writes to: Python's output clears the area first.

    Parameters
    ----------
    file : file
        The terminal.
    """

    def __init__(self, file: TextIO) -> None:
        copy = os.fdopen(os.dup(file.fileno()), "w", encoding=file.encoding, errors="replace")
        super().__init__(copy, lambda: not _is_in_background(copy))
        self._streams = sys.stdout, sys.stderr
        in_children(_restore_streams)
        # In the thread of the caller, before jobs replace the streams for a while.
        sys.stdout, sys.stderr = map(_clearing, self._streams)

    def print(self, lines: Sequence[str], style: str = "") -> None:
        """Print lines; plain ones while this process is in the background."""
        if self._is_usable():
            super().print(lines, style)
        else:
            LinesOnly().print(lines)

    def close(self) -> None:
        """Clear the area."""
        self.leave_streams()
        super().close()

    def leave_streams(self) -> None:
        """Let output be as before."""
        for name, stream in zip(("stdout", "stderr"), self._streams, strict=True):
            present = getattr(sys, name)
            if isinstance(present, ClearingStream) or stream is None:
                setattr(sys, name, stream)


class ClearingStream:
    """Writes to a terminal, and clears the terminal below before.

    Parameters
    ----------
    stream : file
        The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        self._stream.write(CLEAR)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _clearing(stream: Any) -> Any:
    return ClearingStream(stream) if stream is not None and stream.isatty() else stream


def _is_in_background(file: TextIO) -> bool:
    try:
        return os.tcgetpgrp(file.fileno()) != os.getpgrp()
    except OSError:  # not the terminal that controls this process
        return False


def _restore_streams() -> None:
    """Let a forked child print without clearing the area of its parent."""
    for screen in _screens:
        if isinstance(screen, OwnScreen):
            screen.leave_streams()
    _screens.clear()


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
