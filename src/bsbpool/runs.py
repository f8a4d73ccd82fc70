"""What a run offers to its pool, and what it uses of the pool."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bsbpool._typing import Any, Protocol
from bsbpool.jobs import Job
from bsbpool.progress import ObservedPool
from bsbpool.status import PoolStatus


class RunnablePool(ObservedPool, Protocol):
    """The public methods of a pool that a run calls."""

    @property
    def scheduling(self) -> bool:
        """Whether more jobs may be queued, so that the run must go on."""

    def change_status(self, status: PoolStatus) -> None:
        """Set the status of the pool."""

    def notify(self) -> None:
        """Deliver the events."""

    def ping(self) -> None:
        """Call the listeners without an event."""

    def raise_unhandled(self) -> None:
        """Raise the failures that no listener handled."""


class Run(Protocol):
    """The way in which a rank runs the jobs of a pool.

    Attributes
    ----------
    parallel : bool
        Whether other ranks run the jobs.
    """

    parallel: bool

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each rank; empty where only this process is known."""

    @property
    def worker_ranks(self) -> Sequence[int]:
        """The ranks that can run jobs, as far as this rank knows."""

    @property
    def clock_offsets(self) -> tuple[float, ...]:
        """For each worker, the estimated difference of its clock from this rank's, in seconds."""

    def describe(self) -> Iterable[str]:
        """Return lines about what this rank does at present, for a signal handler."""

    def running_jobs(self) -> Iterable[tuple[int, int, float | None]]:
        """Return the jobs that run: the rank, the number, and for how long, if that is known."""

    def execute(self) -> None:
        """Take part in the run until it has ended."""

    def close(self) -> None:
        """End the run if it has not ended, and accept no more messages of it.

        Called when the ``with`` block of the pool ends, also without `execute` before.
        """

    def wake(self) -> None:
        """Let the run look for new jobs and changes; from any thread."""

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need, as far as this rank knows."""

    def perform(self, job: Job[Any]) -> None:
        """Run a RUNNING job in this process and end it."""

    def interrupt(self, number: int, reason: str) -> None:
        """Raise a JobCancelledError in a job if it is running; from any thread."""
