"""The terminal of the program that started the ranks, which reads their output from pipes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, TextIO

from bsbpool.listeners.streams import can_draw, is_drawable
from bsbpool.services.launchers import launch_of_several

LAUNCHERS = ("mpiexec", "mpirun", "orterun", "prterun", "prun", "srun", "flux")
"""Prefixes of the names of programs that start ranks and pass their output on."""
MOST_ANCESTORS = 20


class Process(NamedTuple):
    """A process, as ``/proc`` describes it."""

    pid: int
    name: str
    parent: int
    group: int
    session: int
    terminal: int
    """The device of its controlling terminal; 0 if it has none."""
    foreground: int
    """The process group in the foreground of the terminal."""


class LaunchersTerminal:
    """The terminal of a launcher on this machine.

    Parameters
    ----------
    launcher : Process
        The launcher.

    Attributes
    ----------
    file : file
        The terminal.
    """

    def __init__(self, launcher: Process) -> None:
        self._pid = launcher.pid
        # It must not become the controlling terminal of this process, which MPICH starts in a
        # session of its own.
        handle = os.open(f"/proc/{launcher.pid}/fd/2", os.O_WRONLY | os.O_NOCTTY)
        self.file: TextIO = open(handle, "w", encoding="utf-8")  # noqa: SIM115

    def is_usable(self) -> bool:
        """Whether the launcher is in the foreground of the terminal, and nothing stops us."""
        try:
            return _is_in_foreground(_process(self._pid)) and not _may_stop_writers(self.file)
        except (OSError, ValueError):
            return False


def find_launchers_terminal() -> LaunchersTerminal | None:
    """Return the terminal to which the launcher passes the output of the ranks.

    Returns None if there is none, and if drawing on it could disturb: when the launcher runs in the
    background, when its standard error is not the terminal, and on other ranks than rank 0.
    """
    launch = launch_of_several()
    if launch is None or launch.rank > 0 or not can_draw():
        return None
    try:
        launchers = [
            process
            for process in _ancestors(_process(os.getpid()))
            if process.name.startswith(LAUNCHERS) and _is_in_foreground(process)
        ]
        if not launchers or not _writes_to_terminal(launchers[-1]):
            return None
        terminal = LaunchersTerminal(launchers[-1])
    except (OSError, ValueError):
        return None
    if is_drawable(terminal.file) and terminal.is_usable():
        return terminal
    terminal.file.close()
    return None


def _is_in_foreground(process: Process) -> bool:
    return process.terminal != 0 and process.group == process.foreground


def _writes_to_terminal(process: Process) -> bool:
    """Whether the standard error of a process is its controlling terminal."""
    number = process.terminal
    # The layout of this number is not that of os.makedev.
    device = os.makedev((number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00))
    return os.stat(f"/proc/{process.pid}/fd/2").st_rdev == device


def _ancestors(process: Process) -> Iterator[Process]:
    for _ in range(MOST_ANCESTORS):
        if process.parent <= 0:
            return
        process = _process(process.parent)
        yield process


def _process(pid: int) -> Process:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
    before, _, after = text.rpartition(")")
    _, parent, group, session, terminal, foreground, *_ = after.split()
    numbers = int(parent), int(group), int(session), int(terminal), int(foreground)
    return Process(pid, before.partition("(")[2], *numbers)


def _may_stop_writers(file: TextIO) -> bool:
    """Whether the terminal controls this process and stops those that write in the background."""
    import termios

    with suppress(OSError):  # it is the terminal of another session
        in_background = os.tcgetpgrp(file.fileno()) != os.getpgrp()
        return bool(in_background and termios.tcgetattr(file)[3] & termios.TOSTOP)
    return False
