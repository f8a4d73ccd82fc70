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
    return Program(SearchPath().folders, file and os.path.abspath(file), spec and spec.name)


def create_main_module(file: str | None, module: str | None) -> None:
    """Give this process a ``__main__`` of the program, with nothing in it yet."""
    main = types.ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    if module is not None:
        main.__spec__ = ModuleSpec(module, None, origin=file)
        main.__package__ = main.__spec__.parent
    sys.modules["__main__"] = main


class SearchPath:
    """The `sys.path` of this process, as it is sent to processes that began with the same.

    Attributes
    ----------
    seen : list
        `sys.path`, when it was looked at last.
    folders : list of str
        The same with folders that do not depend on the working directory; a relative one is that
        of the working directory when it was seen first.
    """

    def __init__(self) -> None:
        self._absolute: dict[str, str] = {}
        self.look()
        self._at_first = self.folders

    def look(self) -> None:
        """Look at `sys.path`."""
        self.seen = sys.path[:]
        entries = [entry for entry in self.seen if isinstance(entry, str)]
        for entry in entries:
            # An empty entry stands for whatever the working directory is at that time.
            self._absolute.setdefault(entry, entry and os.path.abspath(entry))
        self.folders = [self._absolute[entry] for entry in entries]

    def changed_folders(self) -> list[str] | None:
        """Return the folders, unless they are those of the beginning."""
        return None if self.folders == self._at_first else self.folders


def extend_search_path(path: list[str]) -> None:
    """Put the program's search path first; what else is on that of this process comes after it."""
    sys.path[:] = path + [entry for entry in sys.path if entry not in path]
    importlib.invalidate_caches()
