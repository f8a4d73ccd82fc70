"""The time that a run may take."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bsbpool import arguments, exceptions
from bsbpool._typing import Any
from bsbpool.status import JobStatus

INFINITY = float("inf")


class TimeLimitReached(Exception):
    """Ends a run inside the package; callers of `JobPool.execute` get a JobPoolTimeoutError.

    It is not a JobPoolError, since a job may raise the JobPoolTimeoutError of another pool.
    """


class TimeLimit:
    """The time that a run may take, counted from now.

    Parameters
    ----------
    timeout : float, optional
        Seconds. By default there is no limit.

    Attributes
    ----------
    end : float
        When the time is over, as `time.monotonic()` returns it.
    stop_code : int
        The number that the other ranks get at the end of the run.

    Raises
    ------
    TypeError, ValueError
        When `timeout` is not a number of seconds.
    """

    stop_code = 0

    def __init__(self, timeout: Any = None) -> None:
        self.timeout = INFINITY if timeout is None else arguments.seconds("timeout", timeout)
        self.end = time.monotonic() + self.timeout
        self._reached = self._stopped = False

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self.timeout < INFINITY

    @property
    def seconds(self) -> float:
        """The seconds that are left; infinite without a limit."""
        return max(self.end - time.monotonic(), 0.0) if self.is_set else INFINITY

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._stopped or time.monotonic() >= self.end

    def check(self) -> None:
        """Do what must be done before the limit is reached: nothing."""

    def run_ended(self) -> None:
        """Do what must be done when no job is left: nothing."""

    def leave(self, signal: str) -> None:
        """Leave after a signal: nothing on other ranks than the main rank, which ends the run."""

    def end_now(self) -> None:
        """Leave no time: the run was stopped."""
        self._stopped = True

    @property
    def reason(self) -> str:
        """The end of the error messages of jobs that the limit ended; empty for other jobs."""
        if self._stopped:
            return ": it was stopped"
        return f": its timeout of {self.timeout:g} s was over" if self._reached else ""

    def error(
        self, counts: Mapping[JobStatus, int], results: dict[Any, Any] | None
    ) -> BaseException:
        """Return the error of a run that did not end in time, when all jobs have ended."""
        ends = (
            f"Of {sum(counts.values()):,} jobs {counts[JobStatus.SUCCESS]:,} succeeded, "
            f"{counts[JobStatus.FAILED]:,} failed, {counts[JobStatus.ABORTED]:,} were aborted and "
            f"{counts[JobStatus.CANCELLED]:,} cancelled."
        )
        if self._stopped:
            return exceptions.JobCancelledError(f"The run was stopped by pool.stop(). {ends}")
        return exceptions.JobPoolTimeoutError(
            f"timeout: the run did not end within {self.timeout:g} s. {ends}", results
        )

    def stop_run(self) -> None:
        """End the run; the errors of jobs that it ends name the limit as the reason.

        Raises
        ------
        TimeLimitReached
            Always.
        """
        self._reached = True
        raise TimeLimitReached
