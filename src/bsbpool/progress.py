"""What listeners are told, and when.

Records are made only when somebody listens. They carry what was true at the
event, not at the delivery. `EventQueue` keeps them until the core (`records`) delivers
each one once, in order, to all listeners, on the thread that executes the pool.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from bsbpool._core.jobs.change_log import JobRecord, Record
from bsbpool.status import JobStatus, PoolStatus

if TYPE_CHECKING:
    from bsbpool.job import Job
    from bsbpool.pool import JobPool
    from bsbpool.workflow import Workflow

DEFAULT_MAX_WAIT = 60.0
"""Seconds between pings when no listener asked for another pace."""


class PoolProgressReason(Enum):
    """Why a listener is called."""

    POOL_STATUS_CHANGE = auto()
    JOB_ADDED = auto()
    JOB_STATUS_CHANGE = auto()
    MAX_TIMEOUT_PING = auto()


class PoolProgress(Record):
    """Something happened in a pool.

    Parameters
    ----------
    pool : JobPool
        Where it happened.
    reason : PoolProgressReason
        What happened.
    """

    __slots__ = ()

    def __init__(self, pool: JobPool, reason: PoolProgressReason) -> None:
        self._pool = pool
        self._reason = reason
        self._status = pool.status

    @property
    def reason(self) -> PoolProgressReason:
        """What happened."""
        return self._reason  # type: ignore[no-any-return]

    @property
    def workflow(self) -> Workflow | None:
        """The work that the pool is a phase of."""
        return self._pool.workflow  # type: ignore[no-any-return]

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the pool, now."""
        return self._pool.jobs  # type: ignore[no-any-return]

    @property
    def counts(self) -> dict[JobStatus, int]:
        """How many jobs have each status, now."""
        return self._pool.counts  # type: ignore[no-any-return]

    @property
    def status(self) -> Any:
        """The status of the pool at the event; of the job, when that is what changed."""
        return self._status


class PoolStatusProgress(PoolProgress):
    """The status of the pool changed."""

    __slots__ = ()

    def __init__(self, pool: JobPool, old_status: PoolStatus | None) -> None:
        super().__init__(pool, PoolProgressReason.POOL_STATUS_CHANGE)
        self._old_status = old_status

    @property
    def old_status(self) -> PoolStatus | None:
        """The status of the pool before."""
        return self._old_status


class PoolJobAddedProgress(JobRecord, PoolProgress):
    """A job was added."""

    __slots__ = ()

    def __init__(self, pool: JobPool, job: Job) -> None:
        super().__init__(pool, PoolProgressReason.JOB_ADDED)
        self._job = job

    @property
    def job(self) -> Job:
        """The new job."""
        return self._job  # type: ignore[no-any-return]


class PoolJobUpdateProgress(JobRecord, PoolProgress):
    """The status of a job changed.

    Parameters
    ----------
    pool : JobPool
        The job's pool.
    job : Job
        The job.
    old_status : JobStatus
        Its status before.
    status : JobStatus, optional
        Its status from the event on; the present one by default.
    """

    __slots__ = ()

    def __init__(
        self, pool: JobPool, job: Job, old_status: JobStatus, status: JobStatus | None = None
    ) -> None:
        super().__init__(pool, PoolProgressReason.JOB_STATUS_CHANGE)
        self._job = job
        self._old_status = old_status
        self._status = job.status if status is None else status

    @property
    def job(self) -> Job:
        """The job that changed."""
        return self._job  # type: ignore[no-any-return]

    @property
    def old_status(self) -> JobStatus:
        """The status of the job before."""
        return self._old_status  # type: ignore[no-any-return]


Listener = Callable[[PoolProgress], Any]


class EventQueue:
    """Keeps the listeners of a pool and what they have not been told yet."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.max_wait = DEFAULT_MAX_WAIT
        self.waiting: deque[PoolProgress] = deque()
        self.paced = False
        self.delivering = threading.RLock()
        self._stack: ExitStack | None = None

    def add(self, listener: Listener, max_wait: float | None) -> None:
        """Add a listener; the shortest of the waits asked for is used."""
        self.listeners.append(listener)
        if max_wait:
            self.max_wait = min(self.max_wait, max_wait) if self.paced else max_wait
            self.paced = True

    def enter(self) -> None:
        """Enter the listeners that are context managers."""
        self._stack = ExitStack()
        for listener in self.listeners:
            try:
                leave = type(listener).__exit__  # type: ignore[attr-defined]
                type(listener).__enter__(listener)  # type: ignore[attr-defined]
            except (TypeError, AttributeError):
                continue  # not a context manager, and need not be one
            self._stack.push(_cannot_suppress(leave, listener))

    def exit(self, *error: Any) -> None:
        """Leave the listeners that were entered, whatever one of them raises."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            stack.__exit__(*error)

    def post(self, record: PoolProgress) -> None:
        """Keep a record for the next delivery; without listeners it is dropped."""
        if self.listeners:
            self.waiting.append(record)


def _cannot_suppress(leave: Callable[..., Any], listener: Listener) -> Callable[..., None]:
    def exit(*error: Any) -> None:
        leave(listener, *error)

    return exit
