"""The run of a pool on the main rank, which schedules the jobs that the other ranks run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.invoke import InterruptKind
from bsbpool._core.protocol.wire import RecordFlag
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool.events import PingTimer
from bsbpool.execution.closures import Closures
from bsbpool.execution.data import RunData
from bsbpool.execution.deadlock import deadlock_message
from bsbpool.execution.functions import CALL, CLOSURE, EXECUTE, FunctionTable, callee_of, is_kept
from bsbpool.execution.leaders import set_leaders
from bsbpool.execution.replies import ReplyCallbacks
from bsbpool.jobs import Job
from bsbpool.logs import logger
from bsbpool.naming import explain, job_text
from bsbpool.process import Terminated, is_from_signal, marking_signals, running
from bsbpool.run_context import INTERRUPTING, RunContext
from bsbpool.serialization import dumps, is_pickled_by_name
from bsbpool.status import PoolStatus
from bsbpool.time_limit import INFINITY
from bsbpool.worker_ranks import rank_of

if TYPE_CHECKING:
    from bsbpool.execution.local_worker import LocalWorker
    from bsbpool.execution.stuck_jobs import StuckJobs

_jobs_log, _workers_log = logger("jobs"), logger("workers")

CANCEL = int(InterruptKind.CANCEL_INTERRUPT)
SCALARS = int(RecordFlag.SCALARS)
IDLE_SECONDS = 60.0
"""The longest interval at which the loop calls `process_events` without an event."""
SECONDS_BETWEEN_CHECKS = 0.5
"""The interval at which the main rank checks whether the processes of its node are alive."""


class MainRun(ReplyCallbacks):
    """Runs a pool on the main rank. Implements `Run`, and `LoopCallbacks` for the loop."""

    parallel = True

    def __init__(self, context: RunContext, channel: Channel) -> None:
        super().__init__(context)
        self._channel = channel
        set_leaders(channel.relaying, context.leaders, channel.hosts)
        self._run_id = channel.open_run()
        self._functions = FunctionTable()
        self._closures = Closures()
        self._ping_timer = PingTimer(context.events)
        self._n_ranks: int = context.comm.get_size()
        self._local_worker: LocalWorker | None = None
        if context.main_works:
            self._local_worker = self._make_local_worker()
        self._n_workers = self._n_ranks - (self._local_worker is None)
        context.engine.open_workers(self._n_workers)
        self._loop = MainLoop(context.engine, channel, self._run_id, self, context.submitter)
        self._loop.replies.check_results = True
        self._loop.set_remote(channel.remote and channel.remote.ljust(self._n_workers, b"\0"))
        self._data = RunData(context.engine, self._loop.data, context.jobs, channel.hosts)
        self._stopped = False
        self._process = os.getpid()
        self._left: set[int] = set()  # ranks that left the run by themselves
        self._stuck_jobs: StuckJobs | None = None
        self._finished = 0
        self._checked = time.monotonic()
        self._has_dead = False

    # The interface of a run

    def describe(self) -> Iterable[str]:
        """Return lines about what this rank does at present, and about the workers."""
        from bsbpool.execution.run_state import main_lines

        busy_seconds = self._loop.outbox.busy_seconds
        return main_lines(self._context, self._channel, self._n_workers, busy_seconds)

    def running_jobs(self) -> list[tuple[int, int, float | None]]:
        """Return the jobs that run: the rank, the number, and for how long."""
        found: list[tuple[int, int, float | None]] = []
        for worker in range(self._n_workers):
            number = self._context.engine.running_job(worker)
            if number is not None:
                seconds = self._loop.outbox.busy_seconds(worker)
                found.append((rank_of(worker, self._n_ranks), number, seconds))
        return found

    def execute(self) -> None:
        """Run all jobs."""
        try:
            if self._local_worker is None:
                self._dispatch()
            else:
                self._local_worker.execute(self._dispatch)
        finally:
            self._context.cache.free_all()

    def _make_local_worker(self) -> LocalWorker:
        from bsbpool.execution.local_worker import LocalWorker

        return LocalWorker(self._context, self._channel, self._run_id)

    def _dispatch(self) -> None:
        """Let workers run all jobs."""
        context, pool = self._context, self._context.pool
        try:
            pool.change_status(PoolStatus.EXECUTING)
            pool.notify()
            context.start_run()
            self._ping_timer.reset()
            self._allow_direct()
            if context.journal is not None:
                self._loop.events = context.events
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
            if os.getpid() == self._process:
                self._stop(aborted=True, interrupts=isinstance(error, INTERRUPTING))
            self.close()
            context.end_early(error)
            raise
        self._stop(aborted=False)

    def _allow_direct(self) -> None:
        """Let the loop encode simple jobs without calling `encode_job`, unless jobs are logged."""
        self._loop.direct = not _jobs_log.isEnabledFor(logging.DEBUG)

    def _check_ranks(self) -> None:
        """Report ranks of this node that have died, since MPI may not report them."""
        self._checked = time.monotonic()
        for rank in self._channel.process_monitor.newly_dead():
            self._channel.report_failure(rank)
            self._has_dead = True
        if self._has_dead:
            self._has_dead = not running.ranks_died()

    def _report_dead_ranks(self) -> None:
        """Log the jobs of ranks that died, which may be why the launcher ends all ranks."""
        for rank in self._channel.process_monitor.dead():
            if rank not in self._channel.lost:
                self._channel.report_failure(rank)
                self.rank_lost(rank, self._context.engine.begun_jobs(rank - 1))
        for failure in self._context.events.failures.values():
            if isinstance(failure.__cause__, exceptions.WorkerLostError):
                _workers_log.error("%s", failure.__cause__)

    def close(self) -> None:
        """End the run on all ranks, unless it has ended, and accept no more messages of it."""
        if os.getpid() == self._process:  # not in a forked child
            self._stop(aborted=True)
            self._channel.close_run(self._run_id)

    def wake(self) -> None:
        """Let the loop look for new jobs and changes."""
        self._channel.wake()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each rank."""
        return self._channel.hosts

    @property
    def worker_ranks(self) -> list[int]:
        """The ranks that can run jobs: those that have not died."""
        lost = self._channel.lost
        return [rank for rank in range(1, self._n_ranks) if rank not in lost]

    @property
    def clock_offsets(self) -> tuple[float, ...]:
        """For each worker, the estimated difference of its clock from this rank's, in seconds."""
        return tuple(ns * 1e-9 for ns in self._loop.clock_offsets)

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need."""
        return frozenset(self._context.engine.needed_items)

    def perform(self, job: Job[Any]) -> None:
        """Raise JobPoolError: jobs of this pool run on other ranks."""
        raise exceptions.JobPoolError(f"{job.label} runs on another rank; call pool.execute()")

    def interrupt(self, number: int, reason: str) -> None:
        """Raise a JobCancelledError in a job that a worker runs."""
        self._loop.interrupt(number, CANCEL, reason.encode(errors="replace"))

    def _stop(self, aborted: bool, interrupts: bool = False) -> None:
        if self._stopped:
            return
        self._stopped = True
        # Also after a normal end: a job that was cancelled may still run.
        unavailable = self._channel.lost | self._left | {self._n_ranks}  # the last one: this rank
        for rank in self._loop.stop(aborted, self._stop_code(), interrupts):
            if rank not in unavailable:
                self._channel.mark_away(rank, self._run_id)

    def _stop_code(self) -> int:
        """Return the number that the other ranks get at the end of the run."""
        return self._context.time_limit.stop_code

    # The callbacks of the compiled loop

    def encode_job(
        self, number: int, worker: int
    ) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job. If it cannot be pickled, record the error and return None."""
        job = self._context.jobs[number]
        try:
            call = None if job.has_inputs else job.function_call
            closure = call and self._closures.encode(*call)
            buffers: list[memoryview] = []
            if closure:
                (callee, payload), mode = closure, CLOSURE
            else:
                callee, mode, arguments = callee_of(job)
            function = self._functions.number_of(callee, mode)
            if job.has_inputs or mode == EXECUTE:
                payload, buffers = self._data.dumps(job, arguments, worker)
            elif not closure:
                payload, buffers = dumps(arguments)
        except exceptions.DataLostError as error:
            self._context.events.job_failed(job, error)
            return None
        except BaseException as error:
            if is_from_signal(error):
                raise
            explain(error, f"The function or the arguments of {job.label} cannot be pickled")
            self._context.events.job_failed(job, error)
            return None
        if _jobs_log.isEnabledFor(logging.DEBUG):
            size = len(payload) + sum(buffer.nbytes for buffer in buffers)
            rank = rank_of(worker, self._n_ranks)
            _jobs_log.debug("sending %s to rank %d, %d bytes", job.label, rank, size)
        return function, SCALARS if closure else 0, payload, buffers

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

    def is_named(self, f: Any) -> bool:
        """Whether a function is sent by name."""
        return is_pickled_by_name(f)

    def data_parcel(self, id: int) -> tuple[bytes, Collection[memoryview]] | None:
        """Return data that this rank has."""
        return self._data.parcel(id)

    def data_unused(self, id: int) -> None:
        """Drop an object that was broadcast."""
        self._data.drop(id)

    def encode_function(self, number: int) -> tuple[int, bytes, list[memoryview]]:
        """Return the mode and the pickle of a function."""
        mode, payload, buffers = self._functions.parcel(number)
        if self._context.function_parcel is not None:
            payload, buffers = self._context.function_parcel(payload, buffers)
        return mode, payload, buffers

    def required_functions(self, number: int) -> Collection[int]:
        """Return the numbers of functions that a worker needs before this one: none."""
        return ()

    def take_evicted(self) -> list[int]:
        """Return the numbers of the functions that workers can drop."""
        return self._functions.take_evicted()

    def job_ended(self, number: int, seconds: float) -> None:
        """Log that a job has ended."""
        job = self._context.jobs[number]
        label = job.label if job.in_pool else job_text(number)
        _jobs_log.debug("%s ended after %.6f s", label, seconds)

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
            if not job.in_pool:
                continue  # it was cancelled and released
            error = exceptions.WorkerLostError.while_running(job, rank, signal)
            if self._runs_again(job, error, lost=True):
                _workers_log.warning("%s; it runs again", error)
            else:
                self._fail(job, error)
        if not jobs:
            _workers_log.warning("rank %d has died; it ran no job, and the run continues", rank)

    def job_output(self, number: int, stream: int, text: Any) -> None:
        """Keep output of a running job."""
        job = self._context.jobs[number]
        if job.in_pool:
            self._context.events.job_output(job, stream, bytes(text))

    def _check_deadlines(self) -> float:
        """Handle deadlines of jobs that are over; return the seconds until the next one."""
        context = self._context
        seconds = INFINITY
        if context.has_deadlines:
            context.deadlines.expire()
            seconds = max(context.deadlines.next - time.monotonic(), 0.0)
        if context.has_timeouts:
            if self._stuck_jobs is None:
                from bsbpool.execution.stuck_jobs import StuckJobs

                self._stuck_jobs = StuckJobs(context, self._channel, self._n_workers)
            seconds = min(self._stuck_jobs.check(), seconds)
        if self._loop.gangs.failing:
            seconds = min(self._loop.gangs.check(), seconds)
        return seconds

    def process_events(self) -> bool:
        """Deliver the events and check the state of the run; return whether the run has ended."""
        context, pool = self._context, self._context.pool
        if context.events.listeners:
            self._ping()
        pool.notify()
        # `scheduling` is read before the unfinished jobs are counted: a callback may have started
        # a scheduler, and a job that a scheduler queues before it ends must be counted.
        scheduling = pool.scheduling
        unneeded = context.engine.pop_unneeded() if context.cache_requirements else ()
        if self._local_worker is not None:  # which frees these items, in the thread of the jobs
            self._local_worker.check()
        elif unneeded:
            context.cache.free(unneeded)
        if time.monotonic() - self._checked > SECONDS_BETWEEN_CHECKS:
            self._check_ranks()
        context.check_time()
        self._check_deadlines()
        if context.engine.unfinished == 0:
            return not scheduling and not context.events.records
        if len(self._channel.lost) == self._n_workers:
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
        context = self._context
        if context.has_timeouts or context.has_deadlines or self._loop.gangs.failing:
            seconds = min(self._check_deadlines(), seconds)
        return min(self._ping_timer.seconds, seconds) if self._context.events.listeners else seconds
