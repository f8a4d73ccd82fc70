"""Run programs in a terminal of their own, and look at its screen.

    PYTHONPATH=tests python -m helpers.terminal docs/pictures/progress.svg 4 program.py

writes a picture of the terminal while a program runs on four ranks, after five seconds.
"""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

from helpers.launch import environment, launcher, stop

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
IN_BACKGROUND = """
import subprocess, sys
sys.exit(subprocess.Popen(sys.argv[1:], process_group=0).wait())
"""
"""Runs a command in a process group that is not in the foreground, as shells do after ``&``."""


def python_in_terminal(ranks: int, *args: str | Path) -> list[str]:
    """Return the command that runs ``python *args``, under mpiexec if there are several ranks."""
    return [*(launcher(ranks) if ranks > 1 else []), sys.executable, *map(str, args)]


class Terminal:
    """A terminal in which a command runs; a context manager that ends the command.

    Parameters
    ----------
    command : sequence of str
        The command.
    env : mapping, optional
        Further environment variables.
    rows, columns : int
        The size.

    Attributes
    ----------
    received : bytes
        What the terminal got.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        rows: int = 30,
        columns: int = 120,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        variables = environment(TERM="xterm-256color", PYTHONIOENCODING="utf-8") | dict(env or {})
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            variables.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            env=variables,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self.received = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        stop(self._process)  # type: ignore[arg-type]
        os.close(self._master)

    def lines(self) -> list[str]:
        """Return the lines that were scrolled out, and those on the screen."""
        columns = range(self._screen.columns)
        history = ["".join(row[x].data for x in columns) for row in self._screen.history.top]
        return [line.rstrip() for line in [*history, *self._screen.display]]

    def until(self, condition: Callable[[str], object], seconds: float = 60.0) -> str:
        """Wait until the text of the screen meets a condition; return the text."""
        end = time.monotonic() + seconds
        while not condition(text := "\n".join(self.lines())):
            if not self.read(end - time.monotonic()):
                raise AssertionError(f"not on the screen in time, or before the end:\n{text}")
        return text

    def type(self, text: str) -> None:
        """Send input, for example ``"\\x03"`` for Ctrl-C."""
        os.write(self._master, text.encode())

    def end(self, seconds: float = 60.0) -> str:
        """Wait until the command has ended; return the text of the screen."""
        end = time.monotonic() + seconds
        while self.read(end - time.monotonic()):
            pass
        self._process.wait(max(0.1, end - time.monotonic()))
        return "\n".join(self.lines()).rstrip("\n")

    def picture(self, title: str) -> str:
        """Return a picture of the screen, as SVG."""
        from rich.console import Console
        from rich.text import Text

        screen = self._screen
        console = Console(record=True, width=screen.columns, file=io.StringIO())
        rows = [y for y in range(screen.lines) if screen.display[y].strip()]
        for y in range(rows[-1] + 1 if rows else 0):
            line = Text()
            cells = [screen.buffer[y][x] for x in range(screen.columns)]
            for style, same in itertools.groupby(cells, _style):
                line.append("".join(cell.data for cell in same), style)
            line.rstrip()
            console.print(line)
        picture = console.export_svg(title=title, unique_id="progress")
        return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)

    def read(self, seconds: float) -> bool:
        """Read some output; return False at its end and when the time is over."""
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # no process has the terminal open
            return False
        self.received += data
        self._stream.feed(data)
        return bool(data)


COLOURS = {"brown": "yellow", "default": "default"}
"""Names of colours in `pyte` that `rich` does not have."""


def _style(cell: pyte.screens.Char) -> str:
    colour = COLOURS.get(cell.fg, cell.fg)
    if len(colour) == 6 and colour.strip("0123456789abcdef") == "":
        colour = f"#{colour}"
    return f"bold {colour}" if cell.bold else colour


def main(path: str, ranks: str, *program: str) -> None:
    """Write a picture of the terminal while a program runs."""
    with Terminal(python_in_terminal(int(ranks), *program), rows=24, columns=110) as terminal:
        terminal.until(lambda text: "━" in text)
        end = time.monotonic() + 5
        while (left := end - time.monotonic()) > 0:
            terminal.read(left)
        name = Path(program[0]).name
        Path(path).write_text(terminal.picture(f"mpiexec -n {ranks} python {name}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
