"""Substitutes for packages that are not installed."""

from __future__ import annotations

from bsbpool import exceptions
from bsbpool._typing import Any
from bsbpool.services.mpi import MockModule as MockModule


class ErrorModule:
    """A stand-in for a module; access to any attribute raises `DependencyError`."""

    def __init__(self, message: str) -> None:
        self._msg = message

    def __getattr__(self, attr: str) -> Any:
        raise exceptions.DependencyError(self._msg)
