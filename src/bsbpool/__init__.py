"""A job pool on MPI: dependencies, caching and scheduling in a compiled core.

Importing bsbpool starts nothing and does not initialize MPI. Public names are imported when they
are first used.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as in `typing`, which is slow to import

if TYPE_CHECKING:
    from typing import Any

    from bsbpool import exceptions as exceptions
    from bsbpool import futures as futures
    from bsbpool import integrations as integrations
    from bsbpool import listeners as listeners
    from bsbpool import progress as progress
    from bsbpool import services as services
    from bsbpool.api import create_job_pool as create_job_pool
    from bsbpool.caching import pool_cache as pool_cache
    from bsbpool.caching import pool_cached_function as pool_cached_function
    from bsbpool.current import CurrentJob as CurrentJob
    from bsbpool.current import current_job as current_job
    from bsbpool.decorators import job as job
    from bsbpool.decorators import requires as requires
    from bsbpool.exceptions import JobCancelledError as JobCancelledError
    from bsbpool.exceptions import JobErroredError as JobErroredError
    from bsbpool.exceptions import JobPoolContextError as JobPoolContextError
    from bsbpool.exceptions import JobPoolError as JobPoolError
    from bsbpool.exceptions import JobPoolTimeoutError as JobPoolTimeoutError
    from bsbpool.exceptions import JobSchedulingError as JobSchedulingError
    from bsbpool.exceptions import JobTimeoutError as JobTimeoutError
    from bsbpool.exceptions import UnmetDependency as UnmetDependency
    from bsbpool.exceptions import WorkerLostError as WorkerLostError
    from bsbpool.exceptions import WorkerTraceback as WorkerTraceback
    from bsbpool.exceptions import WorkflowError as WorkflowError
    from bsbpool.futures import PoolExecutor as PoolExecutor
    from bsbpool.jobs import Job as Job
    from bsbpool.leaving import LeftInTime as LeftInTime
    from bsbpool.pool import JobPool as JobPool
    from bsbpool.services import register_service as register_service
    from bsbpool.status import JobStatus as JobStatus
    from bsbpool.status import PoolStatus as PoolStatus
    from bsbpool.submission_context import SubmissionContext as SubmissionContext
    from bsbpool.workflow import Workflow as Workflow

    MPI: Any
    MPILock: Any

__version__ = "0.1.0"

_MODULE_OF = {
    "create_job_pool": "api",
    "pool_cache": "caching",
    "pool_cached_function": "caching",
    "job": "decorators",
    "requires": "decorators",
    "CurrentJob": "current",
    "current_job": "current",
    "LeftInTime": "leaving",
    "JobCancelledError": "exceptions",
    "JobErroredError": "exceptions",
    "JobPoolContextError": "exceptions",
    "JobPoolError": "exceptions",
    "JobPoolTimeoutError": "exceptions",
    "JobSchedulingError": "exceptions",
    "UnmetDependency": "exceptions",
    "JobTimeoutError": "exceptions",
    "WorkerLostError": "exceptions",
    "WorkerTraceback": "exceptions",
    "WorkflowError": "exceptions",
    "PoolExecutor": "futures",
    "Job": "jobs",
    "SubmissionContext": "submission_context",
    "JobPool": "pool",
    "MPI": "services",
    "MPILock": "services",
    "register_service": "services",
    "JobStatus": "status",
    "PoolStatus": "status",
    "Workflow": "workflow",
}

_SUBMODULES = ("exceptions", "futures", "integrations", "listeners", "progress", "services")

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"bsbpool.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bsbpool' has no attribute '{name}'")
    return getattr(importlib.import_module(f"bsbpool.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
