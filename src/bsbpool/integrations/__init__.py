"""Adapters for other packages: one module or package for each, imported on first access."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = (
    "bsb", "ipyparallel", "joblib", "mpi4py_futures", "mpipool", "schwimmbad", "scinexus",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'bsbpool.integrations' has no attribute '{name}'")
    return importlib.import_module(f"bsbpool.integrations.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
