"""Which listener suits the output of a program."""

from __future__ import annotations

import os
import sys
from typing import Any

from bsbpool.jobs import Job
from bsbpool.listeners.base import Listener
from bsbpool.listeners.counting import CountingListener
from bsbpool.progress import PoolProgress
from bsbpool.status import PoolStatus

VARIABLE = "BSBPOOL_PROGRESS"
CHOICES = ("auto", "terminal", "lines", "tqdm", "off")
PACKAGES = {"terminal": "rich", "tqdm": "tqdm"}
"""The packages that displays need."""


def default_listener() -> CountingListener | None:
    """Return a display that suits the output of this process; None if there should be none.

    The environment variable BSBPOOL_PROGRESS chooses another one: "terminal", "lines", "tqdm" or
    "off".

    Raises
    ------
    ValueError
        If the variable has another value.
    """
    choice = chosen_display()
    if choice == "off":
        return None
    if choice == "auto":
        choice = _choose()
    if choice == "terminal":
        from bsbpool.listeners.terminal import TerminalListener

        return TerminalListener()
    if choice == "tqdm":
        from bsbpool.listeners.notebook import TqdmListener

        return TqdmListener()
    from bsbpool.listeners.log import LogListener

    return LogListener()


def chosen_display() -> str:
    """Return what BSBPOOL_PROGRESS chooses, after checking it.

    Raises
    ------
    ValueError
        If the variable has another value.
    DependencyError
        If the display needs a package that is not installed.
    """
    choice = os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice in PACKAGES:
        from bsbpool.listeners.streams import require

        require(PACKAGES[choice])
    return choice


def _choose() -> str:
    from bsbpool.listeners import streams

    if streams.in_notebook() and streams.is_installed("tqdm"):
        return "tqdm"
    if streams.is_drawable(sys.stderr):
        return "terminal"
    from bsbpool.listeners.launchers_terminal import find_launchers_terminal

    terminal = find_launchers_terminal()
    if terminal is None:
        return "lines"
    terminal.file.close()
    return "terminal"


class DefaultListener(Listener):
    """The display that suits the output of this process, chosen when the pool executes."""

    job_records = False

    def __init__(self) -> None:
        self._listener: CountingListener | None = None
        self._chosen = False

    def __enter__(self) -> DefaultListener:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._listener is not None:
            self._listener.__exit__(*error)

    def __call__(self, progress: PoolProgress) -> None:
        """Show a record."""
        if not self._chosen and progress.status is PoolStatus.EXECUTING:
            self._chosen, self._listener = True, default_listener()
        if self._listener is not None:
            self._listener(progress)

    def job_failed(self, job: Job[Any], error: BaseException) -> None:
        """Show the failure of a job."""
        if self._listener is not None:
            self._listener.job_failed(job, error)
