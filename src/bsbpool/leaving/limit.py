"""The limit of a run that leaves in time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.leaving.exit import EXIT_CODE, LeftInTime
from bsbpool.leaving.run_times import RunTimes
from bsbpool.logs import logger
from bsbpool.process import running
from bsbpool.status import JobStatus
from bsbpool.time_limit import INFINITY, TimeLimit

if TYPE_CHECKING:
    from bsbpool.jobs import Job
    from bsbpool.leaving.rules import LeavingRules
    from bsbpool.leaving.run_times import LimitedRun

WAITING = (JobStatus.PENDING, JobStatus.QUEUED)
SHORTEST_INTERVAL = 0.2
"""The minimum number of seconds between two checks of the waiting jobs."""
SHARE_OF_TIME_LEFT = 0.05
"""The interval between two checks, relative to the time that is left."""
MOST_OF_CPU = 0.05
"""The share of the time of rank 0 that these checks may take."""
MOST_FAILURES = 10
"""The maximum number of failures that are logged when the run leaves."""


class LeavingLimit(TimeLimit):
    """Ends a run in time: jobs that cannot end before the limit are not sent.

    Parameters
    ----------
    timeout : float or None
        The seconds that the run may take, see `JobPool.execute`.
    rules : LeavingRules
        When and how to leave.
    context : LimitedRun
        The run, whose jobs have times.
    """

    def __init__(self, timeout: Any, rules: LeavingRules, context: LimitedRun) -> None:
        super().__init__(timeout)
        self._rules = rules
        self._context = context
        self._run_times = RunTimes(context)
        self._leave_end = time.monotonic() + rules.deadline - time.time()
        self._reason = "its deadline is reached"
        self._next_check = 0.0
        self._n_cancelled = 0
        self._signalled = self._leaves = False
        self.end = min(self.end, self._leave_end)

    @property
    def is_set(self) -> bool:
        """Whether the loops must call `check`: always."""
        return True

    @property
    def seconds(self) -> float:
        """The seconds until `check` must be called again."""
        return max(min(self.end, self._next_check) - time.monotonic(), 0.0)

    @property
    def reason(self) -> str:
        """The end of the error messages of jobs that the limit ended."""
        return f": {self._reason}" if self._leaves else super().reason

    def leave(self, signal: str, at: float) -> None:
        """Leave when the grace period is over, after a signal; at once after a second one.

        Parameters
        ----------
        signal : str
            Its name.
        at : float
            When it arrived, as `time.monotonic()` returns it.
        """
        grace = 0.0 if self._signalled else self._rules.grace
        self._signalled = True
        self._reason = f"{signal} was received"
        self._leave_end = min(self._leave_end, at + grace)
        self.end = min(self.end, self._leave_end)
        self._next_check = 0.0

    def check(self) -> None:
        """Cancel the waiting jobs that cannot end in time, if a check is due."""
        began = time.monotonic()
        if began < self._next_check:
            return
        signalled = self._signalled
        left = self._leave_end - began
        if left < INFINITY:
            self._cancel_late(left)
        took = time.monotonic() - began
        interval = max(SHORTEST_INTERVAL, took / MOST_OF_CPU, left * SHARE_OF_TIME_LEFT)
        # No call in this line: a signal could arrive in it, after which a check is due at once.
        self._next_check = began + interval if self._signalled is signalled else 0.0

    def _cancel_late(self, left: float) -> None:
        """Cancel the waiting jobs that need more seconds than are left."""
        self._run_times.update()
        unknown = math.inf if self._signalled else -math.inf
        if max(self._run_times.longest, unknown) <= left:
            return
        for number in self._run_times.unfinished:
            job = self._context.jobs[number]
            if self._waits(job, number) and self._run_times.of(job, unknown) > left:
                self._cancel(job, number)
        if self._n_cancelled:
            self._cancel_followers()

    def _cancel_followers(self) -> None:
        """Cancel the jobs with `on_end` that follow jobs that were not started.

        Such a job may delete what the others need in the next run.
        """
        found = True
        while found:
            found = False
            for number in self._run_times.unfinished:
                job = self._context.jobs[number]
                followed: Any = () if job.options is None else job.options.on_end
                is_early = any(other.status is JobStatus.CANCELLED for other in followed)
                if is_early and self._waits(job, number):
                    self._cancel(job, number)
                    found = found or job.status is JobStatus.CANCELLED

    def _waits(self, job: Job[Any], number: int) -> bool:
        return job.status in WAITING and not self._context.engine.is_sent(number)

    def _cancel(self, job: Job[Any], number: int) -> None:
        with self._context.lock:
            if self._context.engine.cancel(number, running=False) in WAITING:
                self._n_cancelled += 1
                job.record_error(
                    exceptions.JobCancelledError(
                        f"{job.label} was not started, because it could not end in time: "
                        f"{self._reason}"
                    )
                )

    def run_ended(self) -> None:
        """End the run early if jobs were not sent because of this limit."""
        if self._n_cancelled:
            self.stop_run()

    def stop_run(self) -> None:
        """End the run, and decide why: it leaves, unless it was stopped or its timeout is over."""
        is_due = self._n_cancelled > 0 or time.monotonic() >= self._leave_end
        self._leaves = is_due and not self._stopped
        if self._leaves:
            self.stop_code = running.abort_code = EXIT_CODE
        super().stop_run()

    def error(self, counts: Mapping[JobStatus, int], results: Any) -> BaseException:
        """Return the error of the run, when all jobs have ended."""
        if not self._leaves:
            return super().error(counts, results)
        n_left = counts[JobStatus.CANCELLED] + counts[JobStatus.ABORTED]
        failed = f" and {counts[JobStatus.FAILED]:,} failed" if counts[JobStatus.FAILED] else ""
        text = (
            f"The run left in time, because {self._reason}: {n_left:,} of "
            f"{sum(counts.values()):,} jobs are left{failed}. Run the same command again."
        )
        logger("runs").warning(text)
        for failure in list(self._context.events.failures.values())[:MOST_FAILURES]:
            logger("runs").error("%s", failure, exc_info=failure)  # LeftInTime prints no cause
        return LeftInTime(text, n_left, results)
