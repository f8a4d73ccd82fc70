"""The run of a pool on the main rank, which schedules the jobs that the other ranks run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection
from typing import Any

from bsbpool import exceptions
from bsbpool._core.comm.channel import Channel
from bsbpool._core.protocol.wire import ReplyFlag
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool.events import PingTimer
from bsbpool.execution.deadlock import deadlock_message
from bsbpool.execution.functions import CALL, FunctionTable, callee_of, is_kept
from bsbpool.job import Job
from bsbpool.naming import add_note, explain
from bsbpool.process import Terminated, is_from_signal, marking_signals
from bsbpool.remote_errors import load_error
from bsbpool.run_context import RunContext
from bsbpool.serialization import dumps
from bsbpool.status import FINISHED, PoolStatus

_log = logging.getLogger("bsbpool")

OUTCOME_BITS = int(ReplyFlag.OUTCOME_BITS)
IDLE_SECONDS = 60.0
"""The longest interval at which the loop calls `process_events` without an event."""
SECONDS_BETWEEN_CHECKS = 0.5
"""The interval at which the main rank checks whether the processes of its node are alive."""


class MainRun:
    """Runs a pool on the main rank. Implements `Run`, and `LoopCallbacks` for the loop."""

    parallel = True

    def __init__(self, context: RunContext, channel: Channel) -> None:
        self._context = context
        self._channel = channel
        self._run_id = channel.open_run()
        self._functions = FunctionTable()
        self._ping_timer = PingTimer(context.events)
        self._n_ranks: int = context.comm.get_size()
        context.engine.open_workers(self._n_ranks - 1)
        self._loop = MainLoop(context.engine, channel, self._run_id, self, context.submitter)
        self._loop.check_results = True
        self._stopped = False
        self._process = os.getpid()
        self._left: set[int] = set()  # ranks that left the run by themselves
        self._finished = 0
        self._checked = time.monotonic()

    # The interface of a run

    def execute(self) -> None:
        """Run all jobs on the other ranks."""
        context, pool = self._context, self._context.pool
        try:
            pool.change_status(PoolStatus.EXECUTING)
            context.engine.start_run()
            self._ping_timer.reset()
            self._allow_direct()
            with marking_signals():
                self._loop.run()
                context.read_results()
            pool.change_status(PoolStatus.CLOSING)
            pool.notify()
            pool.raise_unhandled()
        except BaseException as error:
            if isinstance(error, Terminated):
                self._report_dead_ranks()
            # This cannot wait for the end of the pool: a rank that is inside a job may take part in
            # another pool before that.
            self.close()
            context.end_early(error)
            raise
        finally:
            context.cache.free_all()
        self._stop(aborted=False)

    def _allow_direct(self) -> None:
        """Let the loop encode simple jobs without calling `encode_job`, unless jobs are logged."""
        self._loop.direct = not _log.isEnabledFor(logging.DEBUG)

    def _check_ranks(self) -> None:
        """Report ranks of this node that have died, since MPI may not report them."""
        self._checked = time.monotonic()
        for rank in self._channel.process_monitor.newly_dead():
            self._channel.report_failure(rank)

    def _report_dead_ranks(self) -> None:
        """Log the jobs of ranks that died, which may be why the launcher ends all ranks."""
        for rank in self._channel.process_monitor.dead():
            if rank not in self._channel.lost:
                self._channel.report_failure(rank)
                self.rank_lost(rank, self._context.engine.begun_jobs(rank - 1))
        for failure in self._context.events.failures.values():
            if isinstance(failure.__cause__, exceptions.WorkerLostError):
                _log.error("%s", failure.__cause__)

    def close(self) -> None:
        """End the run on all ranks, unless it has ended, and accept no more messages of it."""
        if os.getpid() == self._process:  # not in a forked child
            self._stop(aborted=True)
            self._channel.close_run(self._run_id)

    def wake(self) -> None:
        """Let the loop look for new jobs and changes."""
        self._channel.wake()

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need."""
        return frozenset(self._context.engine.needed_items)

    def perform(self, job: Job[Any]) -> None:
        """Raise JobPoolError: jobs of this pool run on other ranks."""
        raise exceptions.JobPoolError(f"{job.label} runs on another rank; call pool.execute()")

    def _stop(self, aborted: bool) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._loop.stop(aborted, self._stop_code())
        if aborted:
            for rank in range(1, self._n_ranks):
                busy = self._context.engine.running_job(rank - 1) is not None
                if busy and rank not in self._channel.lost | self._left:
                    self._channel.mark_away(rank, self._run_id)

    def _stop_code(self) -> int:
        """Return the number that the other ranks get at the end of the run."""
        return 0

    # The callbacks of the compiled loop

    def encode_job(self, number: int) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job. If it cannot be pickled, record the error and return None."""
        job = self._context.jobs[number]
        try:
            callee, mode, arguments = callee_of(job)
            function = self._functions.number_of(callee, mode)
            payload, buffers = dumps(arguments)
        except BaseException as error:
            if is_from_signal(error):
                raise
            explain(error, f"The function or the arguments of {job.label} cannot be pickled")
            self._context.events.job_failed(job, error)
            return None
        if _log.isEnabledFor(logging.DEBUG):
            size = len(payload) + sum(buffer.nbytes for buffer in buffers)
            _log.debug("sending %s, %d bytes", job.label, size)
        return function, 0, payload, buffers

    def function_number(self, f: Any) -> int:
        """Return the number of a function that workers keep; -1 if it is sent with each job."""
        if not is_kept(f):
            return -1
        try:
            return self._functions.number_of(f, CALL)
        except BaseException as error:
            if is_from_signal(error):
                raise
            return -1  # `encode_job` reports the error

    def encode_function(self, number: int) -> tuple[int, bytes, list[memoryview]]:
        """Return the mode and the pickle of a function."""
        return self._functions.parcel(number)

    def required_functions(self, number: int) -> Collection[int]:
        """Return the numbers of functions that a worker needs before this one: none."""
        return ()

    def take_evicted(self) -> list[int]:
        """Return the numbers of the functions that workers can drop."""
        return self._functions.take_evicted()

    def store_reply(
        self, number: int, flags: int, payload: Any, buffers: list[Any], seconds: float
    ) -> None:
        """Record the error of a job, unless the job was cancelled meanwhile."""
        if flags & OUTCOME_BITS:
            return
        job = self._context.jobs[number]
        if job.in_pool:  # else it was cancelled and released
            self._fail(job, _error_of(job, payload, buffers))

    def result_unreadable(self, number: int, error: BaseException) -> None:
        """Record that the result of a job cannot be unpickled, as the error of the job."""
        if is_from_signal(error):
            raise error
        job = self._context.jobs[number]
        add_note(error, f"The result of {job.label} cannot be unpickled on this rank.")
        self._fail(job, error)

    def _fail(self, job: Job[Any], error: BaseException) -> None:
        with self._context.lock:  # so that the job is not cancelled in between
            if job.status not in FINISHED:
                self._context.events.job_failed(job, error)

    def job_ended(self, number: int, seconds: float) -> None:
        """Log that a job has ended."""
        _log.debug("%s ended after %.6f s", self._context.jobs[number].label, seconds)

    def rank_left(self, rank: int, reason: Any) -> None:
        """End the run: a rank has left it, and the jobs of that rank are lost."""
        self._left.add(rank)
        raise exceptions.JobPoolError(
            f"rank {rank} left the run before its end, and cannot run more jobs: "
            f"{bytes(reason).decode(errors='replace')}"
        )

    def rank_lost(self, rank: int, jobs: list[int]) -> None:
        """Record the death of a rank as the error of the jobs that it had begun."""
        signal = self._channel.wakeup.signal_of(rank) if self._channel.wakeup else 0
        for number in jobs:
            job = self._context.jobs[number]
            self._fail(job, exceptions.WorkerLostError.while_running(job, rank, signal))
        if not jobs:
            _log.warning("rank %d has died; it ran no job, and the run continues", rank)

    def process_events(self) -> bool:
        """Deliver the events and check the state of the run; return whether the run has ended."""
        context, pool = self._context, self._context.pool
        if context.events.listeners:
            self._ping()
        pool.notify()
        # `scheduling` is read before the unfinished jobs are counted: a callback may have started
        # a scheduler, and a job that a scheduler queues before it ends must be counted.
        scheduling = pool.scheduling
        if context.cache_requirements and (unneeded := context.engine.pop_unneeded()):
            context.cache.free(unneeded)
        if time.monotonic() - self._checked > SECONDS_BETWEEN_CHECKS:
            self._check_ranks()
        context.check_time()
        if context.engine.unfinished == 0:
            return not scheduling and not context.events.records
        if len(self._channel.lost) == self._n_ranks - 1:
            raise exceptions.WorkerLostError(
                f"all worker ranks have died; {context.engine.unfinished} jobs did not run or did "
                "not finish"
            )
        if context.engine.idle and not scheduling:
            raise exceptions.JobPoolError(deadlock_message(context))
        return False

    def _ping(self) -> None:
        finished = len(self._context.engine) - self._context.engine.unfinished
        if finished != self._finished:
            self._finished = finished
            self._ping_timer.reset()
        if self._ping_timer.take_due():
            self._context.pool.ping()

    def timeout(self) -> float:
        """Return the seconds until a ping or the time limit is due."""
        seconds = min(self._context.time_limit.seconds, IDLE_SECONDS)
        return min(self._ping_timer.seconds, seconds) if self._context.events.listeners else seconds


def _error_of(job: Job[Any], payload: Any, buffers: list[Any]) -> BaseException:
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
