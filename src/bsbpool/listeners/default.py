"""Which listener suits the output of a program."""

from __future__ import annotations

import os
import sys
from typing import Any

from bsbpool.listeners.base import Listener
from bsbpool.listeners.counting import CountingListener
from bsbpool.progress import PoolProgress

VARIABLE = "BSBPOOL_PROGRESS"
CHOICES = ("auto", "terminal", "lines", "tqdm", "off")


def default_listener() -> CountingListener | None:
    """Return a display that suits the output of this process; None if there should be none.

    The environment variable BSBPOOL_PROGRESS chooses another one: "terminal", "lines", "tqdm" or
    "off".

    Raises
    ------
    ValueError
        If the variable has another value.
    """
    choice = os.environ.get(VARIABLE) or "auto"
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
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
    """The display that suits the output of this process, chosen when the first job is added."""

    def __init__(self) -> None:
        self._listener: CountingListener | None = None
        self._chosen = False

    def __enter__(self) -> DefaultListener:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._listener is not None:
            self._listener.__exit__(*error)

    def __call__(self, progress: PoolProgress) -> Any:
        """Show a record."""
        if not self._chosen and hasattr(progress, "job"):
            self._chosen, self._listener = True, default_listener()
        return None if self._listener is None else self._listener(progress)
