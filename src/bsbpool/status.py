"""The statuses of jobs and of pools."""

from __future__ import annotations

from enum import Enum


class JobStatus(Enum):
    """What a job is doing. The legal transitions are in `bsbpool._core.scheduling.status`."""

    PENDING = "pending"
    """Waits for other jobs, or for the pool to execute."""
    QUEUED = "queued"
    """May run and waits for a worker."""
    RUNNING = "running"
    """Runs."""
    SUCCESS = "success"
    """Ended, and its result is available."""
    FAILED = "failed"
    """Ended with an error."""
    CANCELLED = "cancelled"
    """Was taken back before it could finish."""
    ABORTED = "aborted"
    """Was running when its run ended early; its outcome is not known."""


JOB_STATUSES = tuple(JobStatus)
"""By the numbers that the core uses."""

FINISHED = frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ABORTED})


class PoolStatus(Enum):
    """What a pool is doing."""

    SCHEDULING = "scheduling"
    """Takes jobs; none runs yet."""
    EXECUTING = "executing"
    """Jobs run."""
    CLOSING = "closing"
    """All jobs have ended."""
