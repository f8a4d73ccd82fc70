"""The run of a pool on a rank that runs jobs for the main rank."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from bsbpool import exceptions
from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool._core.protocol.wire import RecordFlag, ReplyFlag
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool.execution.early_end import early_end_error
from bsbpool.execution.functions import EXECUTE
from bsbpool.execution.signature_note import note_signature
from bsbpool.function_job import FunctionJob
from bsbpool.job import Job
from bsbpool.naming import add_note, error_text, explain, name_of
from bsbpool.process import Terminated, end_if_child_of, in_children, running
from bsbpool.remote_errors import dump_error
from bsbpool.run_context import RunContext
from bsbpool.serialization import dumps, loads
from bsbpool.status import PoolStatus

# As numbers: arithmetic with members of an enum is slow.
FAILED, OK = int(ReplyFlag.FAILED_REPLY), int(ReplyFlag.OK_REPLY)
NONE = int(ReplyFlag.NO_RESULT)
ONLY_ARGS = int(RecordFlag.ONLY_ARGS)
NO_BUFFERS: list[memoryview] = []
_executing: weakref.WeakSet[WorkerRun] = weakref.WeakSet()


class WorkerRun:
    """Runs jobs for the main rank. Implements `Run`, and `WorkerCallbacks` for the loop."""

    parallel = True

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

    # The interface of a run

    def execute(self) -> None:
        """Run jobs until the main rank ends the run."""
        context, pool = self._context, self._context.pool
        pool.change_status(PoolStatus.EXECUTING)
        self._executed = True
        in_children(_detach_threads)
        _executing.add(self)
        if not running.job_contexts:
            self._loop.enable_direct_calls(context.owner, running)
        try:
            with context.cache.scope(copied=True):
                aborted = self._loop.run()
        except BaseException as error:
            self._send_leave(error_text(error))
            raise
        finally:
            context.cache.free_all()
        pool.change_status(PoolStatus.CLOSING)
        if aborted:
            self._send_leave("the run has ended")  # main may have marked this rank as away
        self._conclude(aborted)

    def _conclude(self, aborted: bool) -> None:
        """Raise an error if the main rank ended the run early."""
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

    def load_function(self, mode: int, payload: Any, buffers: list[Any]) -> tuple[Any, int]:
        """Unpickle a function. If that fails, return a function whose jobs fail."""
        try:
            return loads(payload, buffers), mode
        except Terminated:
            raise
        except BaseException as error:
            return _Unloadable(error), EXECUTE

    def run_job(
        self, number: int, function: tuple[Any, int], flags: int, payload: Any, buffers: list[Any]
    ) -> tuple[int, bytes | None, list[memoryview]]:
        """Run a job; return the flags of the reply and the pickled result or error."""
        f, mode = function
        owner = self._context.owner
        if self._uses_cache:
            self._context.cache.refresh()
        try:
            args, kwargs = (loads(payload), {}) if flags & ONLY_ARGS else loads(payload, buffers)
            if mode == EXECUTE:
                value = running.call_in_contexts(f.execute, owner, args, kwargs)
            elif owner is NO_OWNER:
                value = running.call_in_contexts(f, *args, **kwargs)
            else:
                value = running.call_in_contexts(f, owner, *args, **kwargs)
            if value is None:
                return OK | NONE, None, NO_BUFFERS
            return OK, *self.pack_result(value)
        except BaseException as error:
            return self.job_failed(number, function, error)

    def job_failed(
        self, number: int, function: tuple[Any, int], error: BaseException
    ) -> tuple[int, bytes, list[memoryview]]:
        """Return the reply for a job that raised an error."""
        end_if_child_of(self._process, error)
        if isinstance(error, Terminated):
            raise error  # the signal ends the run, not the job
        f, mode = function
        label = _label(f, number)
        if error is self._unpicklable:
            explain(error, f"The return value of {label} cannot be pickled")
        elif mode != EXECUTE or f is FunctionJob:
            note_signature(error, self._context.owner)
        self._unpicklable = None
        return FAILED, *dump_error(error, self._rank, label)

    def pack_result(self, value: Any) -> tuple[bytes, list[memoryview]]:
        """Pickle a result."""
        try:
            return dumps(value)
        except BaseException as error:
            self._unpicklable = error  # `job_failed` adds the label of the job
            raise

    def function_name(self, function: tuple[Any, int]) -> bytes:
        """Return the name of a function."""
        return name_of(function[0]).encode(errors="replace")

    def main_lost(self, rank: int) -> None:
        """Raise WorkerLostError: the main rank has died."""
        raise exceptions.WorkerLostError(f"rank {rank}, which schedules the jobs, has died", rank)

    def items_needed(self, tokens: memoryview) -> None:
        """Note cache items that jobs need from now on."""
        self._uses_cache = True
        self._loop.direct = False
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
    return f"job {number} '{name_of(f)}'" if known else f"job {number}"


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
