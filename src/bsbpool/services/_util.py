"""Stand-ins for what is not installed."""

from __future__ import annotations

import importlib
from typing import Any

from bsbpool import exceptions


class ErrorModule:
    """Looks like a module until it is used: then it raises with a message."""

    def __init__(self, message: str) -> None:
        self._msg = message

    def __getattr__(self, attr: str) -> Any:
        raise exceptions.DependencyError(self._msg)


class MockModule:
    """Gives the module of a name; where it cannot be imported, an instance of the subclass."""

    # mpi4py raises RuntimeError where it is installed but finds no MPI library.
    _missing = (ImportError, RuntimeError)
    _mocked: bool

    def __new__(cls, module: str) -> Any:
        """Import `module` or make the stand-in."""
        try:
            return importlib.import_module(module)
        except cls._missing:
            mock = super().__new__(cls)
            mock._mocked = True
            return mock
