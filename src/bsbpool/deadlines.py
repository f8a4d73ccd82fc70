"""The option `dependency_timeout`: how long jobs wait for their dependencies."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.status import JobStatus
from bsbpool.timers import timers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bsbpool._core.scheduling.engine import Engine
    from bsbpool.jobs import Job

INFINITY = float("inf")
LEAST_CHECKED = 256
"""How many jobs have deadlines before those that do not wait any more are removed."""


class DeadlineTimer:
    """Cancels jobs in time while the thread of a serial run executes a job.

    Parameters
    ----------
    deadlines : DependencyDeadlines
        The deadlines of the jobs.
    """

    def __init__(self, deadlines: DependencyDeadlines) -> None:
        self._deadlines = deadlines
        self._at = INFINITY
        self._number = -1
        self._stopped = False

    def update(self) -> None:
        """Set the timer to the next deadline."""
        at = self._deadlines.next
        if at < self._at and not self._stopped:
            timers.cancel(self._number)
            self._at = at
            self._number = timers.call_at(at, self._expire)

    def _expire(self) -> None:
        self._at = INFINITY
        self._deadlines.expire()
        self.update()

    def stop(self) -> None:
        """Cancel no more jobs."""
        self._stopped = True
        timers.cancel(self._number)


class DependencyDeadlines:
    """Cancels jobs that wait too long; their time begins with the run, or when they are queued.

    Parameters
    ----------
    engine : Engine
        The scheduling tables of the pool.
    jobs : list of Job
        The jobs of the pool by number.
    lock : context manager
        The lock of the pool.
    changed : callable
        Called when a job was cancelled, or the next deadline is earlier than before.
    started : bool
        Whether the run has started.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: list[Job[Any]],
        lock: AbstractContextManager[Any],
        changed: Callable[[], object],
        started: bool,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._lock = lock
        self._changed = changed
        self._own_lock = threading.Lock()
        # Only numbers of jobs: a pool that goes on for long must not keep those that have ended.
        self._early: list[tuple[int, float]] = []
        self._heap: list[tuple[float, int, float]] = []
        self._limit = LEAST_CHECKED
        self._started = started

    def add(self, job: Job[Any], seconds: float) -> None:
        """Limit how long a job of the pool waits for its dependencies."""
        assert job.number is not None
        with self._own_lock:
            if not self._started:
                self._early.append((job.number, seconds))
                return
            if len(self._heap) >= self._limit:
                self._drop_ended()
            self._push(job.number, seconds)
        self._changed()

    def start(self) -> None:
        """Begin to count: the run has started."""
        with self._own_lock:
            self._started = True
            for number, seconds in self._early:
                self._push(number, seconds)
            self._early.clear()

    def _push(self, number: int, seconds: float) -> None:
        heapq.heappush(self._heap, (time.monotonic() + seconds, number, seconds))

    def _drop_ended(self) -> None:
        """Remove the jobs that do not wait any more."""
        self._heap = [entry for entry in self._heap if self._waits(entry[1])]
        heapq.heapify(self._heap)
        self._limit = max(LEAST_CHECKED, 2 * len(self._heap))

    def _waits(self, number: int) -> bool:
        return self._engine.status(number) is JobStatus.PENDING

    @property
    def next(self) -> float:
        """When the next job is due, as `time.monotonic()` returns it; infinite if none is."""
        heap = self._heap
        return heap[0][0] if heap else INFINITY

    def expire(self) -> None:
        """Cancel the jobs whose time is over and that still wait."""
        any_cancelled = False
        while self.next <= time.monotonic():
            with self._own_lock:
                if self.next > time.monotonic():
                    break  # another thread has removed jobs
                _, number, seconds = heapq.heappop(self._heap)
            with self._lock:
                if self._waits(number):
                    job = self._jobs[number]
                    self._engine.cancel(number)
                    job.record_error(
                        exceptions.JobCancelledError(
                            f"The dependencies of {job.label} did not end within its "
                            f"dependency_timeout of {seconds:g} s"
                        )
                    )
                    any_cancelled = True
        if any_cancelled:
            self._changed()
