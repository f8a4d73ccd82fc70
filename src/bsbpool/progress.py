"""The records that listeners get.

Records are made only when there are listeners. A record holds the status at the time of the event,
not at the time of its delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from bsbpool._core.jobs.change_log import JobRecord, Record
from bsbpool._typing import TYPE_CHECKING, Any, LazyType, Protocol

if TYPE_CHECKING:
    from bsbpool.jobs import Job
    from bsbpool.status import JobStatus, PoolStatus
    from bsbpool.workflow import Workflow
else:
    Job = LazyType("bsbpool.jobs", "Job")
    JobStatus = LazyType("bsbpool.status", "JobStatus")
    PoolStatus = LazyType("bsbpool.status", "PoolStatus")
    Workflow = LazyType("bsbpool.workflow", "Workflow")


class ObservedPool(Protocol):
    """The part of a pool that its records show."""

    @property
    def status(self) -> PoolStatus | None:
        """The status of the pool."""

    @property
    def workflow(self) -> Workflow | None:
        """The workflow of which the pool runs one phase."""

    @property
    def jobs(self) -> list[Job[Any]]:
        """The jobs in the order of queueing."""

    @property
    def counts(self) -> dict[JobStatus, int]:
        """The number of jobs in each status."""


class PoolProgressReason(Enum):
    """The kind of an event."""

    POOL_STATUS_CHANGE = auto()
    JOB_ADDED = auto()
    JOB_STATUS_CHANGE = auto()
    MAX_TIMEOUT_PING = auto()
    JOB_OUTPUT = auto()


class PoolProgress(Record):
    """An event in a pool.

    Parameters
    ----------
    pool : JobPool
        The pool.
    reason : PoolProgressReason
        The kind of the event.
    """

    __slots__ = ()

    def __init__(self, pool: ObservedPool, reason: PoolProgressReason) -> None:
        self._pool = pool
        self._reason = reason
        self._status = pool.status

    @property
    def reason(self) -> PoolProgressReason:
        """The kind of the event."""
        return self._reason  # type: ignore[no-any-return]

    @property
    def pool(self) -> Any:
        """The pool."""
        return self._pool

    @property
    def workflow(self) -> Workflow | None:
        """The workflow of which the pool runs one phase."""
        return self._pool.workflow  # type: ignore[no-any-return]

    @property
    def jobs(self) -> list[Job[Any]]:
        """The present jobs of the pool, in the order of queueing."""
        return self._pool.jobs  # type: ignore[no-any-return]

    @property
    def counts(self) -> dict[JobStatus, int]:
        """The present number of jobs in each status."""
        return self._pool.counts  # type: ignore[no-any-return]

    @property
    def status(self) -> Any:
        """The status after the event: of the job if that changed, else of the pool."""
        return self._status


class PoolStatusProgress(PoolProgress):
    """The status of the pool changed."""

    __slots__ = ()

    def __init__(self, pool: ObservedPool, old_status: PoolStatus | None) -> None:
        super().__init__(pool, PoolProgressReason.POOL_STATUS_CHANGE)
        self._old_status = old_status

    @property
    def old_status(self) -> PoolStatus | None:
        """The previous status of the pool."""
        return self._old_status


class PoolJobAddedProgress(JobRecord, PoolProgress):
    """A job was added."""

    __slots__ = ()

    def __init__(self, pool: ObservedPool, job: Job[Any]) -> None:
        super().__init__(pool, PoolProgressReason.JOB_ADDED)
        self._job = job

    @property
    def job(self) -> Job[Any]:
        """The new job."""
        return self._job  # type: ignore[no-any-return]


class PoolJobUpdateProgress(JobRecord, PoolProgress):
    """The status of a job changed.

    Parameters
    ----------
    pool : JobPool
        The pool of the job.
    job : Job
        The job.
    old_status : JobStatus
        Its previous status.
    status : JobStatus, optional
        Its new status; by default its present one.
    """

    __slots__ = ()

    def __init__(
        self,
        pool: ObservedPool,
        job: Job[Any],
        old_status: JobStatus,
        status: JobStatus | None = None,
    ) -> None:
        super().__init__(pool, PoolProgressReason.JOB_STATUS_CHANGE)
        self._job = job
        self._old_status = old_status
        self._status = job.status if status is None else status

    @property
    def job(self) -> Job[Any]:
        """The job whose status changed."""
        return self._job  # type: ignore[no-any-return]

    @property
    def old_status(self) -> JobStatus:
        """The previous status of the job."""
        return self._old_status  # type: ignore[no-any-return]


class PoolJobOutputProgress(JobRecord, PoolProgress):
    """A job with the option `capture_output` has written something.

    Parameters
    ----------
    pool : JobPool
        The pool of the job.
    job : Job
        The job.
    stream : int
        1 for stdout, 2 for stderr.
    text : str
        What it has written.

    Attributes
    ----------
    stream, text
        As given.
    """

    __slots__ = ("stream", "text")

    def __init__(self, pool: ObservedPool, job: Job[Any], stream: int, text: str) -> None:
        super().__init__(pool, PoolProgressReason.JOB_OUTPUT)
        self._job = job
        self._status = job.status
        self.stream, self.text = stream, text

    @property
    def job(self) -> Job[Any]:
        """The job."""
        return self._job  # type: ignore[no-any-return]


Listener = Callable[[PoolProgress], object]
"""A listener. A true return value for a failed job means that the failure was handled."""
