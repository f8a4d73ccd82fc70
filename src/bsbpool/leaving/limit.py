"""The limit of a run that leaves in time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.leaving.exit import EXIT_CODE, LeftInTime
from bsbpool.leaving.run_times import RunTimes
from bsbpool.status import JobStatus
from bsbpool.time_limit import INFINITY, TimeLimit

if TYPE_CHECKING:
    from bsbpool.jobs import Job
    from bsbpool.leaving.rules import LeavingRules
    from bsbpool.leaving.run_times import LimitedRun

WAITING = (JobStatus.PENDING, JobStatus.QUEUED)
SHORTEST_INTERVAL = 0.2
"""The fewest seconds between two looks at the jobs that wait."""
SHARE_OF_TIME_LEFT = 0.05
"""The interval between two looks, relative to the time that is left."""
MOST_OF_CPU = 0.05
"""The share of the time of rank 0 that these looks may take."""


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

    stop_code = 0

    def __init__(self, timeout: Any, rules: LeavingRules, context: LimitedRun) -> None:
        super().__init__(timeout)
        self._rules = rules
        self._context = context
        self._timeout_end = self.end
        self._run_times = RunTimes(context)
        self._reason = "its deadline is reached"
        self._next_look = 0.0
        self._n_cancelled = 0
        self._signalled = False
        self.end = min(self.end, time.monotonic() + rules.deadline - time.time())

    @property
    def is_set(self) -> bool:
        """True: the loops must look at the limit."""
        return True

    @property
    def seconds(self) -> float:
        """The seconds until `check` must be called again."""
        now = time.monotonic()
        return max(min(self.end, self._next_look) - now, 0.0)

    @property
    def reason(self) -> str:
        """The end of the error messages of jobs that the limit ended."""
        return super().reason if self._is_timeout else f": {self._reason}"

    @property
    def _is_timeout(self) -> bool:
        return self._stopped or self.end >= self._timeout_end

    def leave(self, signal: str) -> None:
        """Leave when the grace period is over, after a signal; at once after a second one."""
        grace = 0.0 if self._signalled else self._rules.grace
        self._signalled = True
        self._reason = f"{signal} was received"
        self.end = min(self.end, time.monotonic() + grace)
        self._next_look = 0.0

    def check(self) -> None:
        """Cancel the jobs that cannot end in time, if it is time to look at them."""
        began = time.monotonic()
        if began < self._next_look:
            return
        left = self.end - began
        if left < INFINITY:
            self._cancel_late(left)
        took = time.monotonic() - began
        interval = max(SHORTEST_INTERVAL, took / MOST_OF_CPU, left * SHARE_OF_TIME_LEFT)
        self._next_look = began + interval

    def _cancel_late(self, left: float) -> None:
        """Cancel the jobs that wait and need more seconds than are left."""
        context, engine = self._context, self._context.engine
        self._run_times.update()
        unknown = math.inf if self._signalled else -math.inf
        if max(self._run_times.longest, unknown) <= left:
            return
        for number in self._run_times.unfinished():
            job = context.jobs[number]
            if job.status in WAITING and not engine.is_sent(number):
                needed = self._run_times.of(job.name, unknown)
                if needed > left:
                    self._cancel(job, number)

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
        """End the run; with the stop code that makes the other ranks raise `LeftInTime`."""
        if not self._is_timeout:
            self.stop_code = EXIT_CODE
        super().stop_run()

    def error(self, counts: Mapping[JobStatus, int], results: Any) -> BaseException:
        """Return the error of the run, when all jobs have ended."""
        if self._is_timeout and not self._n_cancelled:
            return super().error(counts, results)
        from bsbpool.logs import logger

        n_left = counts[JobStatus.CANCELLED] + counts[JobStatus.ABORTED]
        text = (
            f"The run left in time, because {self._reason}: {n_left:,} of "
            f"{sum(counts.values()):,} jobs are left. Run the same command again."
        )
        logger("runs").warning(text)
        return LeftInTime(text, n_left)
