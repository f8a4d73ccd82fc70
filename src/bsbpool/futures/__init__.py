"""An executor in the style of `concurrent.futures` whose workers are MPI ranks.

::

    from bsbpool.futures import PoolExecutor

    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(list(executor.map(abs, range(-3, 3))))
"""

from __future__ import annotations

from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)

from bsbpool.futures.errors import InitializerError
from bsbpool.futures.executor import PoolExecutor
from bsbpool.futures.future import PoolFuture

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InitializerError",
    "InvalidStateError",
    "PoolExecutor",
    "PoolFuture",
    "as_completed",
    "wait",
]
