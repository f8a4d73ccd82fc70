"""Where progress can be shown: in a notebook, or on a terminal."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TextIO

from bsbpool import exceptions


def is_drawable(file: TextIO | None) -> bool:
    """Whether a file is a terminal that `rich` can draw on."""
    try:
        return (
            file is not None
            and file.isatty()
            and sum(os.get_terminal_size(file.fileno())) > 0
            and can_draw()
        )
    except (OSError, ValueError):
        return False


def can_draw() -> bool:
    """Whether `rich` is installed and the terminal is not a dumb one."""
    return os.environ.get("TERM", "dumb") not in ("dumb", "unknown") and is_installed("rich")


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except ValueError:  # a module without a specification
        return package in sys.modules


def require(package: str) -> None:
    """Raise a DependencyError if a package is not installed."""
    if not is_installed(package):
        raise exceptions.DependencyError(
            f"This display needs {package}; install it with `pip install bsbpool[progress]`"
        )


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")
