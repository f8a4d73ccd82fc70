"""The API of `mpipool` on bsbpool's executor.

::

    from bsbpool.integrations.mpipool import MPIExecutor

    with MPIExecutor() as pool:
        pool.workers_exit()
        print(list(pool.map(abs, range(-3, 3))))

All ranks create the pool. The main rank goes on; the others run its calls until it is shut down,
and leave the block where they call `workers_exit`. With one process, which mpipool refuses, a
thread runs the calls. See docs/migrating.md for the differences.
"""

from __future__ import annotations

from bsbpool.integrations._batch import Batch
from bsbpool.integrations.mpipool.executor import MPIExecutor
from bsbpool.integrations.mpipool.guards import (
    ExitObject,
    MPIProcessError,
    PoolGuardError,
    WorkerExitSuiteSignal,
)
from bsbpool.integrations.mpipool.pool import MPIPool

__all__ = [
    "Batch",
    "ExitObject",
    "MPIExecutor",
    "MPIPool",
    "MPIProcessError",
    "PoolGuardError",
    "WorkerExitSuiteSignal",
]
