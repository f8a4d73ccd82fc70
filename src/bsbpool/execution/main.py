"""Executing a pool on the main rank: it schedules, the other ranks run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool._core.protocol.wire import ReplyFlag
from bsbpool.execution.cachekeeping import CacheKeeper
from bsbpool.execution.deadlock import deadlock_message
from bsbpool.execution.functions import CALL, FunctionTable, callee_of, is_kept
from bsbpool.execution.waiting import Pacer
from bsbpool.interrupts import Terminated, is_from_signal, noticing_signals
from bsbpool.naming import add_note, explain
from bsbpool.remote_errors import load_error
from bsbpool.serialization import dumps
from bsbpool.status import FINISHED, PoolStatus

if TYPE_CHECKING:
    from bsbpool.job import Job
    from bsbpool.pool import JobPool

_log = logging.getLogger("bsbpool")

OUTCOME_BITS = int(ReplyFlag.OUTCOME_BITS)
IDLE_SECONDS = 60.0
SECONDS_BETWEEN_CHECKS = 0.5
"""How often main looks whether the other ranks of its node live."""


class MainRun:
    """The host of the core's loop: it knows what jobs are made of.

    See `bsbpool._core.runtime.main_loop` for the methods that the loop calls.
    """

    parallel = True

    def __init__(self, pool: JobPool, channel: Any) -> None:
        self._pool = pool
        self._channel = channel
        self._run_id = channel.open()
        self._functions = FunctionTable()
        self._cache = CacheKeeper(pool)  # schedulers evaluate items on main, too
        self._pacer = Pacer(pool)
        pool._engine.open_workers(pool._comm.get_size() - 1)
        self._loop = MainLoop(pool._engine, channel, self._run_id, self, pool)
        self._loop.checks = True
        pool._wake(channel)
        self._stopped = False
        self._process = os.getpid()
        self._gone: set[int] = set()  # ranks that left by themselves
        self._finished = 0
        self._checked = time.monotonic()

    # As a pool's run

    def execute(self) -> None:
        """Run all jobs on the other ranks."""
        pool = self._pool
        try:
            pool.change_status(PoolStatus.EXECUTING)
            pool._engine.start()
            self._pacer.reset()
            self._allow_direct()
            with noticing_signals():
                self._loop.run()
                pool._read_results()
            pool.change_status(PoolStatus.CLOSING)
            pool.notify()
            pool.raise_unhandled()
        except BaseException as error:
            if isinstance(error, Terminated):
                self._tell_deaths()
            # Now, not with the pool: who was left behind may come back for a pool inside of it.
            self.leave()
            pool._engine.end()
            pool._close_early(error)
            raise
        finally:
            self._cache.free_all()
        self._stop(aborted=False)

    def _allow_direct(self) -> None:
        """Let the loop send plain jobs without calling `encode`, unless jobs are logged."""
        self._loop.direct = not _log.isEnabledFor(logging.DEBUG)

    def _check_ranks(self) -> None:
        """Look whether ranks of this node have died; MPI may not tell."""
        self._checked = time.monotonic()
        for rank in self._channel.process_monitor.newly_dead():
            self._channel.report_failure(rank)

    def _tell_deaths(self) -> None:
        """Name the jobs of ranks that have died: that may be why the launcher ends all ranks."""
        for rank in self._channel.process_monitor.dead():
            if rank not in self._channel.lost:
                self._channel.report_failure(rank)
                self.lost(rank, self._pool._engine.begun_on(rank - 1))
        for failure in self._pool._reporter.failures.values():
            if isinstance(failure.__cause__, exceptions.WorkerLostError):
                _log.error("%s", failure.__cause__)

    def leave(self) -> None:
        """End the run on all ranks, should it not have ended."""
        if os.getpid() == self._process:  # not in a forked child
            self._stop(aborted=True)
            self._channel.close(self._run_id)

    def wake(self) -> None:
        """Let the loop look again now."""
        self._channel.wake()

    def needed_tokens(self) -> Collection[int]:
        """Return what the core says."""
        return frozenset(self._pool._engine.needed_items)

    def perform(self, job: Job) -> None:
        """Refuse: jobs of this pool run on other ranks."""
        raise exceptions.JobPoolError(f"{job.label} can only run on another rank, in execute()")

    def _stop(self, aborted: bool) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._loop.stop(aborted, self._stop_code())
        if aborted:
            for rank in range(1, self._pool._comm.get_size()):
                busy = self._pool._engine.running_on(rank - 1) is not None
                if busy and rank not in self._channel.lost | self._gone:
                    self._channel.mark_away(rank, self._run_id)

    def _stop_code(self) -> int:
        """Return what the other ranks are told when the run is over."""
        return 0

    # As the loop's host

    def encode(self, number: int) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job; a job that cannot be pickled fails with the error of that."""
        job = self._pool._job_queue[number]
        try:
            callee, mode, arguments = callee_of(job)
            function = self._functions.number_of(callee, mode)
            payload, buffers = dumps(arguments)
        except BaseException as error:
            if is_from_signal(error):
                raise
            explain(error, f"The function or the arguments of {job.label} cannot be pickled")
            self._pool._reporter.failed(job, error)
            return None
        if _log.isEnabledFor(logging.DEBUG):
            size = len(payload) + sum(buffer.nbytes for buffer in buffers)
            _log.debug("sending %s, %d bytes", job.label, size)
        return function, 0, payload, buffers

    def number_of(self, f: Any) -> int:
        """Return the number of a function that workers keep, -1 for one that travels anew."""
        if not is_kept(f):
            return -1
        try:
            return self._functions.number_of(f, CALL)
        except BaseException as error:
            if is_from_signal(error):
                raise
            return -1  # `encode` says why

    def function(self, number: int) -> tuple[int, bytes, list[memoryview]]:
        """Return what to send for a function."""
        return self._functions.parcel(number)

    def required(self, number: int) -> Collection[int]:
        """Return the numbers that a worker must know before a function: none."""
        return ()

    def evicted(self) -> list[int]:
        """Return the functions that workers can forget."""
        return self._functions.take_evicted()

    def store(
        self, number: int, flags: int, payload: Any, buffers: list[Any], seconds: float
    ) -> None:
        """Keep the error of a job, unless it was cancelled meanwhile."""
        if flags & OUTCOME_BITS:
            return
        job = self._pool._job_queue[number]
        if job._id is not None:  # else it was cancelled, and dropped since
            self._fail(job, _error_of(job, payload, buffers))

    def unreadable(self, number: int, error: BaseException) -> None:
        """Keep why the result of a job cannot be unpickled, as the job's error."""
        if is_from_signal(error):
            raise error
        job = self._pool._job_queue[number]
        add_note(error, f"The result of {job.label} cannot be unpickled on this rank.")
        self._fail(job, error)

    def _fail(self, job: Job, error: BaseException) -> None:
        """Keep the error of a job, unless it was cancelled meanwhile."""
        with self._pool._lock:  # nobody cancels it in between
            if job.status not in FINISHED:
                self._pool._reporter.failed(job, error)

    def ended(self, number: int, seconds: float) -> None:
        """Log that a job has ended."""
        _log.debug("%s ended after %.6f s", self._pool._job_queue[number].label, seconds)

    def left(self, rank: int, reason: Any) -> None:
        """End the run: a rank does not serve any more, and its jobs are lost."""
        self._gone.add(rank)
        raise exceptions.JobPoolError(
            f"rank {rank} left the pool before the run ended: "
            f"{bytes(reason).decode(errors='replace')}"
        )

    def lost(self, rank: int, jobs: list[int]) -> None:
        """Keep why the jobs that a rank had begun are about to be ABORTED: it has died."""
        pool = self._pool
        signal = self._channel.wakeup.signal_of(rank) if self._channel.wakeup else 0
        for number in jobs:
            job = pool._job_queue[number]
            self._fail(job, exceptions.WorkerLostError.while_running(job, rank, signal))
        if not jobs:
            _log.warning("rank %d has died; it ran no job, and the run continues", rank)

    def turn(self) -> bool:
        """Tell what happened; True when there is nothing left to do."""
        pool = self._pool
        if pool._reporter.event_queue.listeners:
            finished = len(pool._engine) - pool._engine.unfinished
            if finished != self._finished:
                self._finished = finished
                self._pacer.reset()
            self._pacer.ping_if_due()
        pool.notify()
        # In this order: a callback may have started a scheduler, and what the last
        # scheduler queued must be counted.
        scheduling = pool.scheduling
        if pool._needs and (unneeded := pool._engine.take_unneeded()):
            self._cache.free(unneeded)
        if time.monotonic() - self._checked > SECONDS_BETWEEN_CHECKS:
            self._check_ranks()
        pool._limit.check()
        if pool._engine.unfinished == 0:
            return not scheduling and not pool._reporter.event_queue.waiting
        if len(self._channel.lost) == pool._comm.get_size() - 1:
            raise exceptions.WorkerLostError(
                f"all ranks that run jobs have died; {pool._engine.unfinished} jobs are left"
            )
        if pool._engine.idle and not scheduling:
            raise exceptions.JobPoolError(deadlock_message(pool))
        return False

    def deadline(self) -> float:
        """Return when the next ping is due, or the run must end."""
        seconds = min(self._pool._limit.seconds, IDLE_SECONDS)
        listening = bool(self._pool._reporter.event_queue.listeners)
        return min(self._pacer.seconds, seconds) if listening else seconds


def _error_of(job: Job, payload: Any, buffers: list[Any]) -> BaseException:
    try:
        error = load_error(payload, buffers)
        if isinstance(error.__cause__, exceptions.WorkerTraceback):
            error.__cause__.job = job.label
        return error
    except BaseException as broken:
        if is_from_signal(broken):
            raise
        error = exceptions.RemoteError(
            f"{job.label} failed with an error that cannot be unpickled on rank 0"
        )
        error.__cause__ = broken
        return error
