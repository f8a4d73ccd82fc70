"""What a worker knows about the program whose calls it runs.

Under ``python -m bsbpool.run``, and in processes that were spawned, workers do not run the program.
They need its search path to import what calls refer to, and the path of its main script for
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
    """The description of a program that its workers get.

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
    """Replace ``__main__`` by an empty module with the file and the name of the program's."""
    main = types.ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    if module is not None:
        main.__spec__ = ModuleSpec(module, None, origin=file)
        main.__package__ = main.__spec__.parent
    sys.modules["__main__"] = main


class SearchPath:
    """The `sys.path` of this process, for workers that started with the same one.

    Attributes
    ----------
    seen : list
        `sys.path` when `look` was last called.
    folders : list of str
        The same as absolute paths. A relative path is resolved when it is first seen.
    """

    def __init__(self) -> None:
        self._absolute: dict[str, str] = {}
        self._at_first: list[str] | None = None
        self._has_changed = False
        self.look()
        self._at_first = self.folders

    def look(self) -> None:
        """Look at `sys.path`."""
        self.seen = sys.path[:]
        entries = [entry for entry in self.seen if isinstance(entry, str)]
        for entry in entries:
            # An empty entry stays empty: it means the current working directory.
            self._absolute.setdefault(entry, entry and os.path.abspath(entry))
        self.folders = [self._absolute[entry] for entry in entries]
        # For good: workers that were sent another path must be sent that of the beginning as well.
        self._has_changed |= self._at_first not in (None, self.folders)

    def changed_folders(self) -> list[str] | None:
        """Return the folders; None as long as they have always been those of the start."""
        return self.folders if self._has_changed else None


def extend_search_path(path: list[str]) -> None:
    """Put the program's search path first; other entries of this process follow."""
    sys.path[:] = path + [entry for entry in sys.path if entry not in path]
    importlib.invalidate_caches()
