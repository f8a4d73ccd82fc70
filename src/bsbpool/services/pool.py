"""The names of the module `bsb.services.pool`, for code that is written for it.

Tests replace `free_stale_pool_cache` in this module, so `BsbJobPool` looks it up here at each call.
"""

from __future__ import annotations

import logging
from typing import Any

from bsbpool import exceptions
from bsbpool.caching import CacheId, free_stale_pool_cache, pool_cache
from bsbpool.exceptions import (
    JobCancelledError,
    JobErroredError,
    JobPoolContextError,
    JobPoolError,
    JobSchedulingError,
    WorkflowError,
)
from bsbpool.integrations.bsb.jobs import (
    ConnectivityJob,
    FunctionJob,
    PlacementJob,
    SubmissionContext,
)
from bsbpool.integrations.bsb.nodes import get_node_cache_items
from bsbpool.integrations.bsb.pool import BsbJobPool as JobPool
from bsbpool.jobs import Job
from bsbpool.progress import (
    PoolJobAddedProgress,
    PoolJobUpdateProgress,
    PoolProgress,
    PoolProgressReason,
    PoolStatusProgress,
)
from bsbpool.services._util import ErrorModule, MockModule
from bsbpool.status import JobStatus, PoolStatus
from bsbpool.workflow import Workflow

__all__ = [
    "ConnectivityJob",
    "ErrorModule",
    "FunctionJob",
    "Job",
    "JobCancelledError",
    "JobErroredError",
    "JobPool",
    "JobPoolContextError",
    "JobPoolError",
    "JobSchedulingError",
    "JobStatus",
    "MockModule",
    "PlacementJob",
    "PoolJobAddedProgress",
    "PoolJobUpdateProgress",
    "PoolProgress",
    "PoolProgressReason",
    "PoolStatus",
    "PoolStatusProgress",
    "SubmissionContext",
    "Workflow",
    "WorkflowError",
    "dispatcher",
    "free_stale_pool_cache",
    "get_node_cache_items",
    "pool_cache",
]


def dispatcher(pool_id: int, job_args: tuple[str, Any, Any]) -> Any:
    """Run a job that `Job.serialize` returned, for the owner of an open pool on this rank."""
    name, args, kwargs = job_args
    return globals()[name].execute(JobPool.get_owner(pool_id), args, kwargs)


def _cache_hash(string: str) -> int:
    return CacheId(string)


class _MissingMPIExecutor:
    """Stands in for the MPI executor of BSB, which bsbpool does not have."""

    def __getattr__(self, attr: str) -> Any:
        raise exceptions.DependencyError(
            "This is not a public interface. Use `.services.JobPool` instead."
        )


class _MPIPoolModule(MockModule):
    @property
    def MPIExecutor(self) -> Any:
        return _MissingMPIExecutor()

    def enable_serde_logging(self) -> None:
        logging.getLogger("bsbpool").setLevel(logging.DEBUG)


_MPIPool: Any = object.__new__(_MPIPoolModule)
