"""What happened in a pool: records for listeners, callbacks of jobs, failures to raise.

The core logs the changes of jobs that somebody watches. `Reporter.gather` turns
the log into records and due callbacks, from any thread and in the order of the
events; `Reporter.notify` hands them out, on the thread that executes the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.jobs.change_log import ChangeLog
from bsbpool.callbacks import CallbackQueue
from bsbpool.naming import node_name
from bsbpool.progress import (
    EventQueue,
    PoolJobAddedProgress,
    PoolJobUpdateProgress,
    PoolProgress,
    PoolProgressReason,
)
from bsbpool.status import FINISHED, JOB_STATUSES, JobStatus

if TYPE_CHECKING:
    from bsbpool.job import Job
    from bsbpool.pool import JobPool


class Reporter:
    """Keeps track of what a pool's listeners and callers have yet to hear.

    Attributes
    ----------
    event queue : EventQueue
        The listeners and the records that wait for them.
    failures : dict
        What will be raised unless a listener handles it, by job or node.
    """

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool
        self.event_queue = EventQueue()
        self.failures: dict[Any, Exception] = {}
        self._due: list[tuple[Callable[[Job], Any], Job]] = []
        self._queue = CallbackQueue()
        self._change_log = ChangeLog(
            pool,
            JOB_STATUSES,
            PoolJobAddedProgress,
            PoolProgressReason.JOB_ADDED,
            PoolJobUpdateProgress,
            PoolProgressReason.JOB_STATUS_CHANGE,
        )
        self._change_log.report_to(self, pool._lock, self.event_queue, self._due)
        self.gather = self._change_log.gather
        """Turn what the core logged into records and due callbacks; from any thread."""
        self.notify = self._change_log.notify
        """Call back and tell the listeners all that waits; on the thread that executes."""

    def failed(self, job: Job, error: BaseException) -> None:
        """Keep the error of a job that is about to become FAILED."""
        job._error = error
        failure = exceptions.JobErroredError(f"{job.label} failed", error)
        failure.__cause__ = error
        with self._pool._lock:
            self.failures[job] = failure

    def unscheduled(self, node: Any, error: BaseException) -> None:
        """Keep the error of a node that could not schedule its jobs."""
        failure = exceptions.JobSchedulingError(f"{node_name(node)} failed to schedule its jobs.")
        failure.__cause__ = error
        with self._pool._lock:
            self.failures[object()] = failure

    def on_completion(self, job: Job, callback: Callable[[Job], Any]) -> None:
        """Call back when the job has ended: with the next report, or now if it has.

        Inside a callback, "now" is after that callback.
        """
        with self._pool._lock:
            if job._id is None or self._pool._engine.track(job._id) not in FINISHED:
                job._callbacks = [*job._callbacks, callback]
                return
        self._queue.call(callback, job)

    def call_back(self) -> None:
        """Call the callbacks of jobs that have ended; raise the first error after all.

        Inside a callback they are called after that callback.
        """
        self.gather()
        if self._due:
            with self._pool._lock:
                due = self._due[:]
                self._due.clear()
            self._queue.call(self._call_all, due)

    def _call_all(self, due: list[tuple[Callable[[Job], Any], Job]]) -> None:
        error: BaseException | None = None
        for callback, job in due:
            try:
                callback(job)
            except BaseException as raised:
                error = error or raised
        if error is not None:
            raise error

    def conclude(self) -> None:
        """Tell what is left though an error is on its way out."""
        left = True
        while left:
            with suppress(Exception):
                self.notify()
            # A listener that raises ends a delivery, and a callback may have queued jobs.
            self.gather()
            left = bool(self.event_queue.waiting or self._due)

    def raise_unhandled(self) -> None:
        """Raise the failures that nobody handled as one WorkflowError."""
        error = self.take_unhandled()
        if error is not None:
            raise error

    def take_unhandled(self) -> exceptions.WorkflowError | None:
        """Return the failures that nobody handled, and count them as told."""
        if not self.failures:
            return None
        with self._pool._lock:
            errors, self.failures = list(self.failures.values()), {}
        return exceptions.WorkflowError("Your workflow encountered errors.", errors)

    def _handled(self, record: PoolProgress) -> None:
        ends = (JobStatus.FAILED, JobStatus.ABORTED)  # ABORTED: its rank has died
        if isinstance(record, PoolJobUpdateProgress) and record.status in ends:
            with self._pool._lock:
                self.failures.pop(record.job, None)
