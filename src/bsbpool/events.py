"""The events of a pool: records for listeners, callbacks of jobs, failures to raise.

The core logs the changes of tracked jobs. `EventQueue.gather` turns this log into
records and due callbacks, from any thread and in the order of the events. `EventQueue.notify`
delivers them, in the thread that executes the pool. `PingTimer` measures the time without events.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress

from bsbpool import exceptions
from bsbpool._core.jobs.change_log import ChangeLog
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.jobs import Job
from bsbpool.naming import error_text, node_name
from bsbpool.process import is_from_signal, logs_if_used
from bsbpool.progress import (
    PoolJobAddedProgress,
    PoolJobOutputProgress,
    PoolJobUpdateProgress,
    PoolProgressReason,
)
from bsbpool.status import ERRONEOUS, FINISHED, JOB_STATUSES

if TYPE_CHECKING:
    from bsbpool._core.jobs.submission import Submitter
    from bsbpool._core.scheduling.engine import Engine
    from bsbpool.progress import (
        Listener,
        PoolProgress,
    )

DEFAULT_MAX_WAIT = 60.0
"""Seconds between pings when no listener asks for another interval."""

Callback = Callable[[Job[Any]], object]


class EventQueue:
    """Collects the events of a pool and delivers them.

    Parameters
    ----------
    pool : Submitter
        The pool whose change log is read.
    engine : Engine
        The scheduling tables of the pool.
    lock : context manager
        The lock of the pool.

    Attributes
    ----------
    listeners : list of callable
        The listeners, in the order in which they were added.
    failure_callbacks : list of callable
        Called with each job that has failed and its error, in any thread.
    records : deque of PoolProgress
        The records that have not been delivered.
    due : list of tuple
        The callbacks that have not been called, each with the job that has ended.
    failures : dict
        The errors that will be raised unless a listener handles them; by job, or by an arbitrary
        object for the failure of a node.
    max_wait : float
        Seconds without an event after which listeners are called.
    has_max_wait : bool
        Whether a listener asked for such calls.
    delivery_lock : context manager
        Held while records are delivered.
    """

    def __init__(self, pool: Submitter, engine: Engine, lock: AbstractContextManager[Any]) -> None:
        self._pool: Any = pool
        self._engine = engine
        self._lock = lock
        self.listeners: list[Listener] = []
        self.failure_callbacks: list[Callable[[Job[Any], BaseException], None]] = []
        self.records: deque[PoolProgress] = deque()
        self.due: list[tuple[Callback, Job[Any]]] = []
        self.failures: dict[object, Exception] = {}
        self.max_wait = DEFAULT_MAX_WAIT
        self.has_max_wait = False
        self.delivery_lock = threading.RLock()
        self._callbacks = CallbackQueue()
        self._entered: ExitStack | None = None
        change_log = ChangeLog(
            pool,
            JOB_STATUSES,
            PoolJobAddedProgress,
            PoolProgressReason.JOB_ADDED,
            PoolJobUpdateProgress,
            PoolProgressReason.JOB_STATUS_CHANGE,
        )
        change_log.connect(self, lock)
        self.gather = change_log.gather
        """Turn the changes that the core logged into records and due callbacks."""
        self.notify = change_log.notify
        """Call the due callbacks and deliver the records to the listeners."""

    # ------------------------------------------------------------ listeners

    def add_listener(self, listener: Listener, max_wait: float | None) -> None:
        """Add a listener; of several values of `max_wait` the smallest is used."""
        self.listeners.append(listener)
        kind = type(listener)
        if not getattr(kind, "job_records", True) and hasattr(kind, "job_failed"):
            self.failure_callbacks.append(listener.job_failed)  # type: ignore[attr-defined]
        if max_wait:
            self.max_wait = min(self.max_wait, max_wait) if self.has_max_wait else max_wait
            self.has_max_wait = True

    def enter_listeners(self) -> None:
        """Enter the listeners that are context managers."""
        self._entered = ExitStack()
        for listener in self.listeners:
            try:
                leave = type(listener).__exit__  # type: ignore[attr-defined]
                type(listener).__enter__(listener)  # type: ignore[attr-defined]
            except (TypeError, AttributeError):
                continue  # not a context manager
            self._entered.push(_not_suppressing(leave, listener))

    def exit_listeners(self, *error: Any) -> None:
        """Exit the listeners that were entered, even when one of them raises."""
        if self._entered is not None:
            entered, self._entered = self._entered, None
            entered.__exit__(*error)

    def post(self, record: PoolProgress) -> None:
        """Keep a record for the next delivery; without listeners it is dropped."""
        if self.listeners:
            self.records.append(record)

    def deliver_rest(self) -> None:
        """Deliver all events while an error is being raised; errors of listeners are dropped."""
        left = True
        while left:
            with suppress(Exception):
                self.notify()
            # A listener that raises ends a delivery, and a callback may queue jobs.
            self.gather()
            left = bool(self.records or self.due)

    # ------------------------------------------------------------ callbacks

    def on_completion(self, job: Job[Any], callback: Callback) -> None:
        """Call `callback` when the job has ended; at once if it has ended already.

        Inside another callback, "at once" means after that callback.
        """
        with self._lock:
            if job.number is None or self._engine.track(job.number) not in FINISHED:
                job.completion_callbacks = [*job.completion_callbacks, callback]
                return
        self._callbacks.call(callback, job)

    def call_callbacks(self) -> None:
        """Call the due callbacks, all of them; raise their first error afterwards.

        Inside another callback they are called after that callback.
        """
        self.gather()
        if self.due:
            with self._lock:
                due = self.due[:]
                self.due.clear()
            self._callbacks.call(_call_all, due)

    # ------------------------------------------------------------ output

    def job_output(self, job: Job[Any], stream: int, data: bytes) -> None:
        """Keep output of a running job, and report it to the listeners; from any thread."""
        if job.output is None:
            from bsbpool.job_output import JobOutput

            job.output = JobOutput()
        text = job.output.add(stream, data)
        if self.listeners:
            self.gather()  # earlier events come first
            self.post(PoolJobOutputProgress(self._pool, job, stream, text))

    # ------------------------------------------------------------ failures

    def job_failed(self, job: Job[Any], error: BaseException) -> None:
        """Record the error of a job that is about to become FAILED."""
        job.record_error(error)
        label = job.label
        failure = exceptions.JobErroredError(f"{label} failed", error)
        failure.__cause__ = error
        with self._lock:
            self.failures[job] = failure
        logs = logs_if_used()
        if logs is not None:
            logs.logger("jobs").info("%s failed: %s", label, error_text(error))
        for callback in self.failure_callbacks:
            callback(job, error)

    def node_failed(self, node: object, error: BaseException) -> None:
        """Record the error of a node that could not schedule its jobs."""
        failure = exceptions.JobSchedulingError(f"{node_name(node)} failed to schedule its jobs.")
        failure.__cause__ = error
        with self._lock:
            self.failures[object()] = failure

    def handled(self, record: PoolProgress) -> None:
        """Drop the failure that a listener handled; called by the core."""
        if isinstance(record, PoolJobUpdateProgress) and record.status in ERRONEOUS:
            with self._lock:
                self.failures.pop(record.job, None)

    def raise_unhandled(self) -> None:
        """Raise the failures that no listener handled as one WorkflowError."""
        error = self.take_unhandled()
        if error is not None:
            raise error

    def take_unhandled(self) -> exceptions.WorkflowError | None:
        """Return the failures that no listener handled, and remove them."""
        if not self.failures:
            return None
        with self._lock:
            errors, self.failures = list(self.failures.values()), {}
        return exceptions.WorkflowError("Your workflow encountered errors.", errors)

    def clear(self) -> None:
        """Drop all records and failures: the pool is closed."""
        self.failures = {}
        self.records.clear()


def _call_all(due: list[tuple[Callback, Job[Any]]]) -> None:
    first: BaseException | None = None
    for callback, job in due:
        try:
            callback(job)
        except BaseException as error:
            first = first or error
    if first is not None:
        raise first


def _not_suppressing(leave: Callable[..., object], listener: Listener) -> Callable[..., None]:
    """Return an exit callback with which a listener cannot suppress an error."""

    def exit(*error: Any) -> None:
        leave(listener, *error)

    return exit


class CallbackQueue(threading.local):
    """Calls functions one after the other, separately in each thread.

    While `max_depth` functions run inside each other in a thread, further functions that are
    passed to `call` wait until the innermost one has returned. So a chain in which each callback
    causes the next one does not need a deep stack.

    Parameters
    ----------
    max_depth : int
        The number of functions that are called inside each other.
    """

    def __init__(self, max_depth: int = 1) -> None:
        self._max_depth = max_depth
        self._depth = 0
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call(self, f: Callable[..., Any], *args: Any) -> None:
        """Call ``f(*args)``, now or after the functions that run in this thread.

        Raises
        ------
        BaseException
            The first error of the functions that this call called, after all of them; the error
            of a signal at once. The next call then calls the functions that still wait.
        """
        if self._depth == self._max_depth:
            self._waiting.append((f, args))
            return
        self._depth += 1
        first: BaseException | None = None
        try:
            while True:
                try:
                    f(*args)
                except BaseException as error:
                    if is_from_signal(error):
                        raise  # a chain may be endless
                    first = first or error
                # Functions wait only while the innermost one runs.
                if not self._waiting:
                    break
                f, args = self._waiting.popleft()
        finally:
            self._depth -= 1
        if first is not None:
            raise first


class PingTimer:
    """Counts the seconds without an event.

    Parameters
    ----------
    events : EventQueue
        Its `max_wait` is the interval.
    """

    def __init__(self, events: EventQueue) -> None:
        self._events = events
        self._due = 0.0
        self.reset()

    def reset(self) -> None:
        """Count from now on: an event occurred."""
        self._due = time.monotonic() + self._events.max_wait

    @property
    def seconds(self) -> float:
        """The seconds until the next ping."""
        return max(self._due - time.monotonic(), 0.0)

    def take_due(self) -> bool:
        """Return whether a ping is due, and begin the next interval.

        Intervals that were missed give no further pings.
        """
        now = time.monotonic()
        if now < self._due:
            return False
        self._due += self._events.max_wait
        if self._due <= now:
            self._due = now + self._events.max_wait
        return True
