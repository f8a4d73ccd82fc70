"""The run of a pool on a rank that runs jobs for the main rank."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool._core.protocol import scalar_codec
from bsbpool._core.protocol.wire import RecordFlag, ReplyFlag
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool.caching.items import RankCache
from bsbpool.dataflow import drop_data, receiving
from bsbpool.execution.early_end import early_end_error, main_lost_error
from bsbpool.execution.functions import CLOSURE, EXECUTE
from bsbpool.execution.signature_note import note_signature
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.naming import add_note, duration_text, error_text, explain, job_text, name_of
from bsbpool.process import (
    Terminated,
    end_if_child_of,
    in_children,
    interruptible,
    logs_if_used,
    running,
)
from bsbpool.remote_errors import dump_error
from bsbpool.run_context import RunContext
from bsbpool.serialization import dumps, loads
from bsbpool.status import PoolStatus

if TYPE_CHECKING:
    from logging import Logger

    from bsbpool.current import CurrentJob
    from bsbpool.execution.gang_members import GangMember

# As numbers: arithmetic with members of an enum is slow.
FAILED, OK = int(ReplyFlag.FAILED_REPLY), int(ReplyFlag.OK_REPLY)
OUTCOME_BITS = int(ReplyFlag.OUTCOME_BITS)
NONE, SECONDARY = int(ReplyFlag.NO_RESULT), int(ReplyFlag.SECONDARY)
ONLY_ARGS, SCALARS = int(RecordFlag.ONLY_ARGS), int(RecordFlag.SCALARS)
NO_BUFFERS: list[memoryview] = []
_executing: weakref.WeakSet[WorkerRun] = weakref.WeakSet()


class WorkerRun:
    """Runs jobs for the main rank. Implements `Run`, and `WorkerCallbacks` for the loop."""

    parallel = True
    hosts: tuple[str, ...] = ()
    clock_offsets: tuple[float, ...] = ()
    worker_ranks: tuple[int, ...] = ()

    def __init__(self, context: RunContext, channel: Channel) -> None:
        self._context = context
        self._channel = channel
        self._run_id = channel.open_run()
        self._needed: set[int] = set()
        self._uses_cache = False
        self._rank: int = context.comm.get_rank()
        self._loop = WorkerLoop(channel, self._run_id, self, self._rank)
        self._executed = False
        self._process = os.getpid()
        self._unpicklable: BaseException | None = None  # why a return value cannot be pickled
        self._gang_member: GangMember | None = None
        self._log: Logger | None = None  # if each job is logged

    # The interface of a run

    def describe(self) -> Iterator[str]:
        """Return lines about what this rank does at present."""
        number = self._loop.running_job.number
        if number < 0:
            yield f"it waits for messages of rank 0, in pool {self._context.pool_id}"
        else:
            current = self._loop.running_job.details  # of a job with options
            label = getattr(current, "label", "") or self._describe(number).label
            took = duration_text(self._loop.job_seconds())
            yield f"it has been running {label} of pool {self._context.pool_id} for {took}"

    def running_jobs(self) -> list[tuple[int, int, float | None]]:
        """Return no jobs: this rank does not know those of the others."""
        return []

    def execute(self) -> None:
        """Run jobs until the main rank ends the run."""
        context, pool = self._context, self._context.pool
        pool.change_status(PoolStatus.EXECUTING)
        try:
            aborted = self.run_jobs()
        except BaseException as error:
            self._send_leave(error_text(error))
            raise
        finally:
            context.cache.free_all()
            if self._gang_member is not None:
                self._gang_member.close()
        pool.change_status(PoolStatus.CLOSING)
        if self._loop.must_report:
            self._send_leave("the run has ended")  # main may have marked this rank as away
        self._conclude(aborted)

    def run_jobs(self) -> bool:
        """Run jobs until the main rank ends the run; return whether it was aborted."""
        context = self._context
        self._executed = True
        in_children(_detach_threads)
        _executing.add(self)
        logs = logs_if_used()
        self._log = None if logs is None else logs.debug_logger("jobs")
        if self._log is not None:
            self.run_job = self._run_logged  # type: ignore[method-assign]
        elif not running.job_contexts:
            self._loop.enable_direct_calls(context.owner, running)
        errors = exceptions.interrupt_classes()
        interruptible_jobs = interruptible(self._loop.running_job, errors, self._describe)
        taking = receiving(self._loop, context.owner)
        with context.cache.scope(copied=True), interruptible_jobs, taking:
            return self._loop.run()

    def _conclude(self, aborted: bool) -> None:
        """Raise an error if the main rank ended the run early."""
        if self._loop.stop_code:
            from bsbpool.leaving import LeftInTime

            raise LeftInTime("Rank 0 ended the run in time.")
        if aborted:
            raise early_end_error(self._rank)

    def detach_thread(self) -> None:
        """Forget the progress thread, in a forked child, where it does not exist."""
        self._loop.detach_progress_thread()

    def close(self) -> None:
        """Accept no more messages of this run, and drop those that were not read."""
        if os.getpid() != self._process:  # a forked child
            return
        if not self._executed:  # the main rank may be executing, and wait for this rank
            self._send_leave("it has not called pool.execute(), as all ranks must")
        self._channel.close_run(self._run_id)
        self._channel.receive_unread()

    def _send_leave(self, reason: str) -> None:
        if os.getpid() != self._process:
            return
        with suppress(TransportError):
            self._loop.send_leave(reason.encode(errors="replace"))

    def wake(self) -> None:
        """Do nothing: jobs that are queued on this rank do not run."""

    def interrupt(self, number: int, reason: str) -> None:
        """Do nothing: jobs that are queued on this rank do not run."""

    def _describe(self, number: int) -> CurrentJob:
        """Describe the job that is running, for `current_job`."""
        from bsbpool.current import CurrentJob

        running = self._loop.running_job
        f, _ = self._loop.running_function()
        if f is FunctionJob and running.details is not None:
            f = running.details[0]
        loop = self._loop
        poll, send_output = loop.poll_interrupts, loop.send_output
        current = CurrentJob(running, name_of(f), self._rank, poll=poll, send_output=send_output)
        if self._gang_member is not None:
            current.gang = self._gang_member.gang_of(number)
        return current

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need, as of the main rank's last message."""
        return self._needed

    def perform(self, job: Job[Any]) -> None:
        """Raise JobPoolError: jobs that are queued on this rank do not run."""
        raise exceptions.JobPoolError(
            f"{job.label} was queued on rank {self._rank} and cannot run; only jobs that rank 0 "
            "queues are run"
        )

    # The callbacks of the compiled loop

    def ranks_died(self) -> bool:
        """Give back what ranks of this node had that have died; False to be called again."""
        return running.ranks_died()

    def gang_formed(self, number: int, serial: int, ranks: memoryview) -> None:
        """Make or find a communicator for a job that these ranks run."""
        if self._gang_member is None:
            from bsbpool.execution.gang_members import GangMember

            self._gang_member = GangMember(self._context.comm.get_communicator())
        self._gang_member.form(number, serial, ranks)

    def gang_freed(self, serial: int, discarded: bool) -> None:
        """Free a communicator, or only drop it."""
        if self._gang_member is not None:
            self._gang_member.free(serial, discarded)

    def load_function(self, mode: int, payload: Any, buffers: list[Any]) -> tuple[Any, int]:
        """Unpickle a function. If that fails, return a function whose jobs fail."""
        try:
            return loads(payload, buffers), mode
        except BaseException as error:
            if self._ends_run(error):
                raise
            return _Unloadable(error), EXECUTE

    def _ends_run(self, error: BaseException) -> bool:
        """Whether an error was raised by a signal that ends the run, and not by a job."""
        return isinstance(error, Terminated)

    def run_job(
        self, number: int, function: tuple[Any, int], flags: int, payload: Any, buffers: list[Any]
    ) -> tuple[int, bytes | None, list[memoryview]]:
        """Run a job; return the flags of the reply and the pickled result or error."""
        f, mode = function
        owner = self._context.owner
        call = self._loop.running_job.call  # only the function itself is interrupted
        if self._uses_cache:
            self._context.cache.refresh()
        try:
            position: Any = ()
            if flags & ONLY_ARGS:
                args, kwargs = loads(payload), {}
            elif mode == CLOSURE:
                args, kwargs, *variables = scalar_codec.loads(payload)
                f = f.function_of(variables)
            else:
                args, kwargs, *position = loads(payload, buffers)
            if mode == EXECUTE:
                self._loop.running_job.details = args  # for `_describe`
                value = running.call_in_contexts(call, f.execute, owner, args, kwargs)
            elif owner is NO_OWNER:
                value = running.call_in_contexts(call, f, *args, **kwargs)
            else:
                if position:  # after the arguments of a partial
                    (n,) = position
                    args, owner = (*args[1:n], owner, *args[n:]), args[0]
                value = running.call_in_contexts(call, f, owner, *args, **kwargs)
            if value is None:
                return OK | NONE, None, NO_BUFFERS
            packed = scalar_codec.dumps(value)
            if packed is not None:
                return OK | SCALARS, packed, NO_BUFFERS
            return OK, *self.pack_result(value)
        except BaseException as error:
            return self.job_failed(number, function, error)

    def _run_logged(
        self, number: int, function: tuple[Any, int], flags: int, payload: Any, buffers: list[Any]
    ) -> tuple[int, bytes | None, list[memoryview]]:
        """Run a job as `run_job`, and log its begin and its end."""
        label = _label(function[0], number)
        assert self._log is not None
        self._log.debug("running %s", label)
        reply = type(self).run_job(self, number, function, flags, payload, buffers)
        ended = "succeeded" if reply[0] & OUTCOME_BITS == OK else "failed"
        self._log.debug("%s has %s after %.6f s", label, ended, self._loop.job_seconds())
        return reply

    def job_failed(
        self, number: int, function: tuple[Any, int], error: BaseException
    ) -> tuple[int, bytes, list[memoryview]]:
        """Return the reply for a job that raised an error."""
        end_if_child_of(self._process, error)
        if self._ends_run(error):
            raise error
        f, mode = function
        label = _label(f, number)
        if error is self._unpicklable:
            explain(error, f"The return value of {label} cannot be pickled")
        elif mode != EXECUTE or f is FunctionJob or getattr(f, "is_optioned_call", False):
            note_signature(error, self._context.owner)
        self._unpicklable = None
        flags = FAILED
        if self._gang_member is not None and self._gang_member.has_secondary:
            self._gang_member.has_secondary = False
            flags |= SECONDARY
        return flags, *dump_error(error, self._rank, label)

    def pack_result(self, value: Any) -> tuple[bytes, list[memoryview]]:
        """Pickle a result."""
        try:
            return dumps(value)
        except BaseException as error:
            self._unpicklable = error  # `job_failed` adds the text of the job
            raise

    def function_name(self, function: tuple[Any, int]) -> bytes:
        """Return the name of a function."""
        return name_of(function[0]).encode(errors="replace")

    def main_lost(self, rank: int) -> None:
        """Raise WorkerLostError: the main rank has died."""
        raise main_lost_error(self._rank, rank)

    def data_dropped(self, id: int) -> None:
        """Drop an object that was broadcast."""
        drop_data(id)

    def items_needed(self, tokens: memoryview) -> None:
        """Note cache items that jobs need from now on."""
        self._uses_cache = True
        if type(self._context.cache).refresh is not RankCache.refresh:
            self._loop.direct = False  # so that the loop calls `run_job`
        self._needed.update(tokens)

    def items_unneeded(self, tokens: memoryview) -> None:
        """Free the cache items that no job needs any more."""
        self._needed.difference_update(tokens)
        self._context.cache.free(tokens)


def _detach_threads() -> None:
    for run in _executing:
        run.detach_thread()


def _label(f: Any, number: int) -> str:
    """Return the label of a job without its arguments, which the worker may not know."""
    known = not (f is FunctionJob or isinstance(f, _Unloadable))
    return job_text(number, name_of(f) if known else "")


class _Unloadable:
    """Stands for a function that this rank could not unpickle."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def execute(self, owner: Any, args: Any, kwargs: Any) -> Any:
        add_note(
            self._error,
            "The function of this job cannot be unpickled on this rank. Its module must be the "
            "same, and importable, on all ranks.",
        )
        raise self._error
