"""Threads in which nodes queue their jobs while other jobs already run."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.naming import repr_of
from bsbpool.process import running

if TYPE_CHECKING:
    from bsbpool.events import EventQueue

Scheduler = Callable[[Any], object]
"""Called with a node; queues the jobs of that node."""


class SchedulerStopped(BaseException):
    """Raised in a scheduler thread that queues a job after the run has ended."""


class Schedulers:
    """The scheduler threads of a pool.

    They are daemon threads. Once the run has ended, they stop before the next node or when they
    queue a job, so that the end of a run need not wait for them.

    Parameters
    ----------
    events : EventQueue
        Gets the failures of nodes.
    on_end : callable
        Called when a thread ends.

    Attributes
    ----------
    outside_jobs : bool
        Whether the threads are outside of the jobs that this process runs meanwhile.
    """

    def __init__(self, events: EventQueue, on_end: Callable[[], None]) -> None:
        self._events = events
        self._on_end = on_end
        self._threads: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._failed: list[Any] = []
        self._stopped = False
        self.outside_jobs = False

    @property
    def alive(self) -> bool:
        """Whether a thread still schedules."""
        return bool(self._threads)

    def is_current_thread(self) -> bool:
        """Whether the calling thread is one of them."""
        return threading.current_thread() in self._threads

    def start(self, nodes: Sequence[Any], scheduler: Scheduler) -> None:
        """Schedule the nodes in a new thread, in a copy of the caller's context."""
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._schedule, nodes, scheduler),
            name="bsbpool-scheduler",
            daemon=True,
        )
        with self._changed:  # added before it runs, so that `alive` never misses it
            self._threads.add(thread)
            thread.start()

    def stop(self) -> None:
        """Ask the threads to end as soon as they can."""
        self._stopped = True

    def check_stopped(self) -> None:
        """Raise SchedulerStopped in a scheduler thread of a run that has ended."""
        if self._stopped and self.is_current_thread():
            raise SchedulerStopped

    def join(self, seconds: float) -> bool:
        """Wait for the threads; return whether all have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._threads, seconds)

    def _schedule(self, nodes: Sequence[Any], scheduler: Scheduler) -> None:
        if self.outside_jobs:
            running.other_threads.add(threading.get_ident())
        try:
            with running.in_contexts():
                for node in nodes:
                    if self._stopped:
                        return
                    self._schedule_one(node, scheduler)
        except SchedulerStopped:
            pass
        finally:
            running.other_threads.discard(threading.get_ident())
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()
            self._on_end()

    def _schedule_one(self, node: Any, scheduler: Scheduler) -> None:
        try:
            self._check_dependencies(node)
            scheduler(node)
        except SchedulerStopped:
            raise
        except BaseException as error:
            self._failed.append(node)
            self._events.node_failed(node, error)

    def _check_dependencies(self, node: Any) -> None:
        broken = [
            dep
            for dep in getattr(node, "depends_on", None) or ()
            if any(dep is failed for failed in self._failed)
        ]
        if broken:
            nodes = ", ".join(map(repr_of, broken))
            raise exceptions.JobSchedulingError(f"Depends on [{nodes}], whom failed.")
