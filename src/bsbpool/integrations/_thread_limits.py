"""The number of threads that libraries such as OpenBLAS may use in a call."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_set_by_user() -> bool:
    """Whether the environment of this process limits the threads of libraries."""
    return bool(os.environ.get("OMP_NUM_THREADS"))  # all these libraries read it


class _LoadedLibraries:
    """The libraries with threads that this process has loaded; finding them takes long."""

    def __init__(self) -> None:
        self._n_modules = 0
        self._controller: Any = None

    def controller(self) -> Any:
        """Return the controller of threadpoolctl; None if that is not installed."""
        if self._n_modules != len(sys.modules):
            try:
                from threadpoolctl import ThreadpoolController
            except ImportError:
                return None
            self._controller = ThreadpoolController()
            self._n_modules = len(sys.modules)
        return self._controller


_libraries = _LoadedLibraries()


@contextmanager
def limit_threads(n: int, variables: Sequence[str]) -> Iterator[None]:
    """Limit the threads that libraries use in a call.

    Parameters
    ----------
    n : int
        The number of threads.
    variables : sequence of str
        The environment variables that set the limit for libraries that are loaded in the block,
        and for programs that are started in it.
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
