"""The data about the main program that workers need which do not run it.

Under ``python -m bsbpool.run``, and in spawned processes, the workers do not run the program. They
need its search path to import the modules that calls refer to. They need the path of its main
script for processes that calls start: the spawn and forkserver methods of multiprocessing run the
script again under another name.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from importlib.machinery import ModuleSpec
from typing import NamedTuple


class MainProgram(NamedTuple):
    """The description of a program that its workers receive.

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


def this_program() -> MainProgram:
    """Return the description of the program of this process."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    return MainProgram(SearchPath().folders, file and os.path.abspath(file), spec and spec.name)


def create_main_module(file: str | None, module: str | None) -> None:
    """Replace ``__main__`` by an empty module that has the program's file and name."""
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
        `sys.path` at the last call of `update`.
    folders : list of str
        The same as absolute paths. A relative path is resolved when it is first seen.
    """

    def __init__(self) -> None:
        self._absolute: dict[str, str] = {}
        self._initial_folders: list[str] | None = None
        self._has_changed = False
        self.update()
        self._initial_folders = self.folders

    def update(self) -> None:
        """Read `sys.path`."""
        self.seen = sys.path[:]
        entries = [entry for entry in self.seen if isinstance(entry, str)]
        for entry in entries:
            # An empty entry stays empty: it means the current working directory.
            self._absolute.setdefault(entry, entry and os.path.abspath(entry))
        self.folders = [self._absolute[entry] for entry in entries]
        # Never reset: workers that got another path must also be sent a return to the initial one.
        self._has_changed |= self._initial_folders not in (None, self.folders)

    def changed_folders(self) -> list[str] | None:
        """Return the folders; None as long as they have never changed."""
        return self.folders if self._has_changed else None


def extend_search_path(path: list[str]) -> None:
    """Put the program's search path first; other entries of this process follow."""
    sys.path[:] = path + [entry for entry in sys.path if entry not in path]
    importlib.invalidate_caches()
