"""The statuses of jobs and of pools."""

from __future__ import annotations

from enum import Enum


class JobStatus(Enum):
    """The status of a job. The legal transitions are in `bsbpool._core.scheduling.status`."""

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
    """Was running when the run ended early; its outcome is unknown."""


JOB_STATUSES = tuple(JobStatus)
"""The statuses, in the order of their numbers in the core."""

FINISHED = frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ABORTED})


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
