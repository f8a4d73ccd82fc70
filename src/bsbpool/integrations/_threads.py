"""How many threads libraries such as OpenBLAS may use in one call."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def are_decided() -> bool:
    """Whether who started this process has said how many threads they may use."""
    return bool(os.environ.get("OMP_NUM_THREADS"))  # which all of them obey


class _Libraries:
    """The libraries with threads that this process has loaded. Looking for them takes long."""

    def __init__(self) -> None:
        self._n_modules = 0
        self._controller: Any = None

    def controller(self) -> Any:
        """Return threadpoolctl's controller of them; None without threadpoolctl."""
        if self._n_modules != len(sys.modules):
            try:
                from threadpoolctl import ThreadpoolController
            except ImportError:
                return None
            self._controller = ThreadpoolController()
            self._n_modules = len(sys.modules)
        return self._controller


_libraries = _Libraries()


@contextmanager
def at_most(n: int, variables: Sequence[str]) -> Iterator[None]:
    """Let libraries use so many threads.

    Parameters
    ----------
    n : int
        How many.
    variables : sequence of str
        The environment variables that say so to libraries that are loaded meanwhile, and to
        programs that are started.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(dict.fromkeys(variables, str(n)))
    controller = _libraries.controller()
    limiter = controller.limit(limits=n) if controller is not None else None
    try:
        yield
    finally:
        if limiter is not None:
            limiter.restore_original_limits()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
