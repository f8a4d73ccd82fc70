"""Jobs that do not end although their time is over: those that do not return to the interpreter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.comm.channel import Channel
from bsbpool.execution.optioned_call import timeout_message
from bsbpool.logs import logger
from bsbpool.run_context import RunContext
from bsbpool.status import JOB_STATUSES, JobStatus
from bsbpool.time_limit import INFINITY
from bsbpool.worker_ranks import rank_of

if TYPE_CHECKING:
    from bsbpool.jobs import Job

_log = logger("workers")

GRACE_SECONDS = 2.0
"""How long after its timeout a job counts as stuck."""
SECONDS_BETWEEN_LOOKS = 0.1
"""The shortest interval between two looks at what the workers run; each looks at all workers."""
MOST_TIME = 0.02
"""The part of the time that looks may take."""
FAILED = JOB_STATUSES.index(JobStatus.FAILED)


class StuckJobs:
    """Ends jobs that are stuck, for the main rank; their ranks get no jobs until they return.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    channel : Channel
        The messages of the communicator.
    n_workers : int
        The number of workers.
    """

    def __init__(self, context: RunContext, channel: Channel, n_workers: int) -> None:
        self._context = context
        self._channel = channel
        self._running: list[tuple[int | None, int]] = [(None, 0)] * n_workers
        self._limits = [INFINITY] * n_workers
        self._stuck: set[int] = set()
        self._next_look = 0.0

    def check(self) -> float:
        """Look at what the workers run; return the seconds until the next check is due."""
        now = time.monotonic()
        if now < self._next_look:
            return self._next_look - now
        seconds = self._look(now)
        took = time.monotonic() - now
        self._next_look = now + max(SECONDS_BETWEEN_LOOKS, took / MOST_TIME)
        return seconds

    def _look(self, now: float) -> float:
        seconds = INFINITY
        for worker, known in enumerate(self._running):
            running = self._run_of(worker)
            if running != known:
                self._running[worker] = running
                self._limits[worker] = now + self._seconds_for(running[0])
                if worker in self._stuck:
                    self._returned(worker)
                    seconds = 0.0
            elif now >= self._limits[worker]:
                self._limits[worker] = INFINITY
                self._give_up(worker)
                seconds = 0.0
            seconds = min(seconds, self._limits[worker] - now)
        return seconds

    def _run_of(self, worker: int) -> tuple[int | None, int]:
        """Return the job that a worker runs, and which attempt of it."""
        number = self._context.engine.running_job(worker)
        job = self._job(number)
        return number, 0 if job is None else len(job.attempts)

    def _job(self, number: int | None) -> Job[Any] | None:
        """Return a job; None if it was cancelled and released, though a worker still runs it."""
        job = None if number is None else self._context.jobs[number]
        return job if job is not None and job.in_pool else None

    def _seconds_for(self, number: int | None) -> float:
        job = self._job(number)
        options = None if job is None else job.options
        if options is None or options.timeout is None:
            return INFINITY
        return options.timeout + GRACE_SECONDS

    def _rank_of(self, worker: int) -> int:
        return rank_of(worker, self._context.comm.get_size())

    def _give_up(self, worker: int) -> None:
        number, _ = self._running[worker]
        job = self._job(number)
        if number is None or job is None or job.status is not JobStatus.RUNNING:
            return
        assert job.options is not None
        message = (
            f"{timeout_message(job.label, job.options.timeout)}, and did not end within further "
            f"{GRACE_SECONDS:g} s; rank {self._rank_of(worker)}, which runs it, gets no jobs until "
            "it returns"
        )
        _log.warning("%s", message)
        self._stuck.add(worker)
        self._context.engine.set_available(worker, False)
        with self._context.lock:
            if job.status is JobStatus.RUNNING:
                self._context.events.job_failed(job, exceptions.JobTimeoutError(message))
                self._context.engine.finish(number, FAILED)

    def _returned(self, worker: int) -> None:
        self._stuck.discard(worker)
        rank = self._rank_of(worker)
        if rank not in self._channel.lost and rank not in self._channel.away:
            _log.warning("rank %d has returned from its job, and gets jobs again", rank)
            self._context.engine.set_available(worker, True)
