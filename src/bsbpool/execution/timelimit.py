"""How long a run may take, and what is said when it took longer."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from bsbpool import arguments, exceptions
from bsbpool.status import JobStatus

if TYPE_CHECKING:
    from bsbpool.pool import JobPool


class TimeIsUp(Exception):
    """Ends a run; its pool tells the caller by an error that says more.

    Not a JobPoolError: those of other pools may pass through a run as well.
    """


class TimeLimit:
    """The time that a run may take, counted from now.

    Parameters
    ----------
    pool : JobPool
        The pool that runs.
    timeout : float or None
        Seconds; None for as long as it takes.

    Raises
    ------
    TypeError, ValueError
        When `timeout` is not a number of seconds.
    """

    def __init__(self, pool: JobPool, timeout: float | None = None) -> None:
        self._pool = pool
        self._timeout = math.inf if timeout is None else arguments.seconds("timeout", timeout)
        self._end = time.monotonic() + self._timeout
        self._struck = False

    @property
    def given(self) -> bool:
        """Whether there is a limit."""
        return self._timeout < math.inf

    @property
    def seconds(self) -> float:
        """How much is left."""
        return max(self._end - time.monotonic(), 0.0) if self.given else math.inf

    @property
    def reason(self) -> str:
        """What to add to the errors of jobs that the end of the run ended."""
        return f": its timeout of {self._timeout:g} s was over" if self._struck else ""

    def check(self) -> None:
        """Raise TimeIsUp when the time is over and there is still something to do."""
        if time.monotonic() < self._end:
            return
        # In this order: what the last scheduler queued must be counted.
        if self._pool.scheduling or self._pool._engine.unfinished:
            self._struck = True
            raise TimeIsUp

    def error(self, results: dict[Any, Any] | None) -> exceptions.JobPoolTimeoutError:
        """Return what to raise, once all jobs have ended."""
        counts = self._pool.counts
        return exceptions.JobPoolTimeoutError(
            f"timeout: the run did not end within {self._timeout:g} s. "
            f"Of {len(self._pool._engine):,} jobs {counts[JobStatus.SUCCESS]:,} succeeded, "
            f"{counts[JobStatus.FAILED]:,} failed, {counts[JobStatus.ABORTED]:,} were aborted and "
            f"{counts[JobStatus.CANCELLED]:,} cancelled.",
            results,
        )
