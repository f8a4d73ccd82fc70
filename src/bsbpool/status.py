"""The statuses of jobs and of pools.

The core has the statuses of jobs as numbers, and the table of legal transitions
(`bsbpool._core.scheduling.status`). "Adding a job status" in docs/architecture.md lists what
depends on them.
"""

from __future__ import annotations

from enum import Enum


class JobStatus(Enum):
    """The status of a job, in the order of the numbers in the core."""

    PENDING = "pending"
    """Waits for other jobs, or for the pool to execute."""
    QUEUED = "queued"
    """Can run, and waits for a worker."""
    RUNNING = "running"
    """A worker runs it."""
    SUCCESS = "success"
    """Has ended with a result."""
    FAILED = "failed"
    """Has ended with an error."""
    CANCELLED = "cancelled"
    """Was cancelled before it had ended."""
    ABORTED = "aborted"
    """Was running when the run ended early or its worker died; its outcome is unknown."""


JOB_STATUSES = tuple(JobStatus)
"""The statuses; the index of each is its number in the core."""

UNSUCCESSFUL = (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ABORTED)
"""The statuses of jobs that have ended without a result. Their dependents are cancelled."""

FINISHED = frozenset({JobStatus.SUCCESS, *UNSUCCESSFUL})
"""The statuses of jobs that have ended: the terminal statuses of the core."""

ERRONEOUS = (JobStatus.FAILED, JobStatus.ABORTED)
"""The statuses of jobs whose errors `JobPool.execute` raises, unless a listener handles them."""


class PoolStatus(Enum):
    """The status of a pool."""

    SCHEDULING = "scheduling"
    """Jobs can be queued; none runs yet."""
    EXECUTING = "executing"
    """Jobs run; more can be queued."""
    CLOSING = "closing"
    """All jobs have ended."""


class PoolState(Enum):
    """The states of a pool, in their order."""

    NEW = "new"
    """Its ``with`` block has not begun."""
    OPEN = "open"
    """Inside the ``with`` block, before `execute`."""
    EXECUTING = "executing"
    """Inside `execute`."""
    EXECUTED = "executed"
    """After `execute`, still inside the ``with`` block."""
    CLOSED = "closed"
    """The ``with`` block has ended."""
