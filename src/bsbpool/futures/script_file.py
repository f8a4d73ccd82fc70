"""The script of ``python -m bsbpool.run``: rank 0 reads it once, and the workers get its text.

A worker needs the text for the lines in tracebacks and for `inspect.getsource`, which would read
the file on each rank. Only the script itself is sent: modules that calls use are imported on each
worker, from the folder of the script as from other folders.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import io
import linecache
import os
from contextlib import suppress
from importlib.machinery import ModuleSpec
from typing import NamedTuple

END_OF_ARCHIVE = b"PK\x05\x06"
"""What the table of contents of a zip archive ends with."""


class Script(NamedTuple):
    """What a worker receives of a script.

    Attributes
    ----------
    folder : str
        The folder of `sys.path` in which the script finds its own modules.
    file : str
        Its path.
    names : tuple of str
        The names of the file in tracebacks.
    text : str or None
        The source; None if it cannot be read.
    """

    folder: str
    file: str
    names: tuple[str, ...]
    text: str | None


class ScriptFile:
    """A script that this process runs. The file is read once.

    Parameters
    ----------
    path : str
        The path as the user gave it.

    Attributes
    ----------
    content : bytes
        The content of the file; empty for a folder.
    error : OSError or None
        Why the file cannot be read.
    contains_modules : bool
        Whether the path is a folder or an archive, in which modules can be.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = os.path.abspath(path)
        self.content = b""
        self.error: OSError | None = None
        self.contains_modules = os.path.isdir(path)
        if not self.contains_modules:
            try:
                with open(path, "rb") as file:
                    self.content = file.read()
            except OSError as error:
                self.error = error
            self.contains_modules = _is_archive(self.content)

    @property
    def folder(self) -> str:
        """The folder of `sys.path` in which the script finds its own modules."""
        return self.file if self.contains_modules else os.path.dirname(self.file)

    @functools.cached_property
    def spec(self) -> ModuleSpec | None:
        """The `__main__` module of a folder or an archive."""
        return importlib.machinery.PathFinder.find_spec("__main__", [self.file])

    def for_workers(self) -> Script:
        """Return what a worker receives; errors are reported when the script is run."""
        text, names = None, (self.path, self.file)
        with suppress(Exception):
            if self.contains_modules:
                assert self.spec is not None and self.spec.origin is not None
                names = (self.spec.origin, self.spec.origin)
                text = self.spec.loader.get_source("__main__")  # type: ignore[union-attr]
            elif self.error is None:
                text = importlib.util.decode_source(self.content)
        return Script(self.folder, self.file, names, text)


def _is_archive(content: bytes) -> bool:
    if END_OF_ARCHIVE not in content:
        return False
    import zipfile  # imports many modules

    return zipfile.is_zipfile(io.BytesIO(content))


def keep_lines(script: Script) -> None:
    """Let `linecache` find the lines of a script without its file."""
    if script.text is None:
        return
    lines = io.StringIO(script.text).readlines()
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for name in script.names:
        # Without a time of modification the entry is never compared with the file.
        linecache.cache[name] = len(script.text), None, lines, name
