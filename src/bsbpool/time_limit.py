"""The time limit of a run."""

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

    Raises
    ------
    TypeError, ValueError
        When `timeout` is not a number of seconds.
    """

    def __init__(self, timeout: Any = None) -> None:
        self.timeout = INFINITY if timeout is None else arguments.seconds("timeout", timeout)
        self._end = time.monotonic() + self.timeout
        self._reached = False

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self.timeout < INFINITY

    @property
    def seconds(self) -> float:
        """The seconds that are left; infinite without a limit."""
        return max(self._end - time.monotonic(), 0.0) if self.is_set else INFINITY

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._end

    @property
    def reason(self) -> str:
        """The end of the error messages of jobs that the limit ended; empty for other jobs."""
        return f": its timeout of {self.timeout:g} s was over" if self._reached else ""

    def error(
        self, counts: Mapping[JobStatus, int], results: dict[Any, Any] | None
    ) -> exceptions.JobPoolTimeoutError:
        """Return the error of a run that did not end in time, when all jobs have ended."""
        return exceptions.JobPoolTimeoutError(
            f"timeout: the run did not end within {self.timeout:g} s. "
            f"Of {sum(counts.values()):,} jobs {counts[JobStatus.SUCCESS]:,} succeeded, "
            f"{counts[JobStatus.FAILED]:,} failed, {counts[JobStatus.ABORTED]:,} were aborted and "
            f"{counts[JobStatus.CANCELLED]:,} cancelled.",
            results,
        )

    def stop_run(self) -> None:
        """End the run, and give its jobs the limit as the reason of their end.

        Raises
        ------
        TimeLimitReached
            Always.
        """
        self._reached = True
        raise TimeLimitReached
