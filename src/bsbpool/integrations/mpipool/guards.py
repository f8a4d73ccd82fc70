"""Keeps workers from running the main rank's code in the ``with`` block of a pool."""

from __future__ import annotations

import warnings
from typing import Any

REMEDY = "begin the `with` block with `pool.workers_exit()`"
_WARNING = f"A worker runs code of the main rank; {REMEDY}"


class WorkerExitSuiteSignal(Exception):
    """Raised by `workers_exit` on a worker, to leave the ``with`` block."""


class PoolGuardError(Exception):
    """A worker runs code of the main rank, because `workers_exit` was not called before it."""


class MPIProcessError(Exception):
    """Never raised; exists for programs that catch mpipool's error about a single process."""


class ExitObject:
    """The value that a worker gets in the ``with`` block of a pool."""

    def is_main(self) -> bool:
        """Return False, with a warning that this is code of the main rank."""
        warnings.warn(_WARNING, stacklevel=2)
        return False

    def is_worker(self) -> bool:
        """Return True, with a warning that this is code of the main rank."""
        warnings.warn(_WARNING, stacklevel=2)
        return True

    def workers_exit(self) -> None:
        """Leave the ``with`` block."""
        raise WorkerExitSuiteSignal

    def __getattr__(self, name: str) -> Any:
        raise PoolGuardError(f"Only the main rank may use {name!r} of the pool; {REMEDY}")
