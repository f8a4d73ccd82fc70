"""The program that a worker serves, as the worker knows it.

Under ``python -m bsbpool.run``, and in processes that were spawned, workers do not run the program.
They need its search path to import what calls refer to, and the place of its main script for
processes that calls start: the spawn and forkserver methods of multiprocessing run the script
again under another name.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from importlib.machinery import ModuleSpec
from typing import NamedTuple


class Program(NamedTuple):
    """A program, as its workers are told about it.

    Attributes
    ----------
    path : list of str
        Its `sys.path`.
    file : str or None
        Its main script.
    module : str or None
        The full name of its main module, when it was started with ``-m``.
    """

    path: list[str]
    file: str | None
    module: str | None


def this_program() -> Program:
    """Return the program of this process."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    return Program(search_path(), file and os.path.abspath(file), spec and spec.name)


def stand_in_for_main(file: str | None, module: str | None) -> None:
    """Give this process a ``__main__`` of the program, with nothing in it yet."""
    main = types.ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    if module is not None:
        main.__spec__ = ModuleSpec(module, None, origin=file)
        main.__package__ = main.__spec__.parent
    sys.modules["__main__"] = main


def search_path() -> list[str]:
    """Return `sys.path` with folders that do not depend on the working directory."""
    # An empty entry stands for whatever the working directory is at that time.
    return [entry and os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]


def extend_search_path(path: list[str]) -> None:
    """Put the program's search path first; what else is on that of this process comes after it."""
    sys.path[:] = path + [entry for entry in sys.path if entry not in path]
    importlib.invalidate_caches()
