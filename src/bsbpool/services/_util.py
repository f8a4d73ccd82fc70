"""Substitutes for packages that are not installed."""

from __future__ import annotations

import importlib

from bsbpool import exceptions
from bsbpool._typing import Any


class ErrorModule:
    """A stand-in for a module; access to any attribute raises `DependencyError`."""

    def __init__(self, message: str) -> None:
        self._msg = message

    def __getattr__(self, attr: str) -> Any:
        raise exceptions.DependencyError(self._msg)


class MockModule:
    """Base class of substitutes for modules.

    Calling a subclass with the name of a module returns that module. If it cannot be imported, the
    result is an instance of the subclass.
    """

    # mpi4py raises RuntimeError if it is installed but finds no MPI library.
    _missing = (ImportError, RuntimeError)
    _mocked: bool

    def __new__(cls, module: str) -> Any:
        """Import `module`, or make its substitute."""
        try:
            return importlib.import_module(module)
        except cls._missing:
            mock = super().__new__(cls)
            mock._mocked = True
            return mock
