"""Threads in which nodes queue their jobs while others already run."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool.naming import repr_of
from bsbpool.running import running

if TYPE_CHECKING:
    from bsbpool.pool import JobPool


class SchedulerStopped(BaseException):
    """Raised inside a scheduler that queues a job after its run ended."""


class Schedulers:
    """The scheduler threads of a pool.

    They are daemons, and they stop at the next node or the next job that they
    queue once the run has ended: an abort must not wait for them.
    """

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool
        self._threads: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._failed: list[Any] = []
        self._stopped = False

    @property
    def alive(self) -> bool:
        """Whether a thread still schedules."""
        return bool(self._threads)

    def is_here(self) -> bool:
        """Whether the current thread is one of them."""
        return threading.current_thread() in self._threads

    def start(self, nodes: Sequence[Any], scheduler: Callable[[Any], Any]) -> None:
        """Schedule the nodes in a new thread, in a copy of the caller's context."""
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._schedule, nodes, scheduler),
            name="bsbpool-scheduler",
            daemon=True,
        )
        with self._changed:  # counted before it runs: nobody may think that all have ended
            self._threads.add(thread)
            thread.start()

    def stop(self) -> None:
        """Let the threads end as soon as they can."""
        self._stopped = True

    def check_stopped(self) -> None:
        """Leave the calling thread if it is a scheduler of a run that has ended."""
        if self._stopped and self.is_here():
            raise SchedulerStopped

    def join(self, seconds: float) -> bool:
        """Wait for the threads; return whether all have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._threads, seconds)

    def _schedule(self, nodes: Sequence[Any], scheduler: Callable[[Any], Any]) -> None:
        try:
            with running.in_contexts():
                for node in nodes:
                    if self._stopped:
                        return
                    self._schedule_one(node, scheduler)
        except SchedulerStopped:
            pass
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()
            self._pool._run.wake()

    def _schedule_one(self, node: Any, scheduler: Callable[[Any], Any]) -> None:
        try:
            broken = [
                dep
                for dep in getattr(node, "depends_on", None) or ()
                if any(dep is failed for failed in self._failed)
            ]
            if broken:
                nodes = ", ".join(map(repr_of, broken))
                raise exceptions.JobSchedulingError(f"Depends on [{nodes}], whom failed.")
            scheduler(node)
        except SchedulerStopped:
            raise
        except BaseException as error:
            self._failed.append(node)
            self._pool._reporter.unscheduled(node, error)
