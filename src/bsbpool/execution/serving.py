"""Executing a pool on a rank that runs jobs for the main one."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool._core.comm.channel import TransportError
from bsbpool._core.protocol.wire import RecordFlag, ReplyFlag
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool.execution.aborted import aborted_error
from bsbpool.execution.cachekeeping import CacheKeeper
from bsbpool.execution.functions import EXECUTE
from bsbpool.execution.owner_note import note_owner
from bsbpool.forks import end_if_child_of, in_children
from bsbpool.interrupts import Terminated
from bsbpool.job import FunctionJob
from bsbpool.naming import add_note, error_text, explain, name_of
from bsbpool.remote_errors import dump_error
from bsbpool.running import running
from bsbpool.serialization import dumps, loads
from bsbpool.status import PoolStatus

if TYPE_CHECKING:
    from bsbpool.job import Job
    from bsbpool.pool import JobPool

# As numbers: arithmetic with members of an enum is slow.
FAILED, OK = int(ReplyFlag.FAILED_REPLY), int(ReplyFlag.OK_REPLY)
NONE = int(ReplyFlag.NO_RESULT)
ONLY_ARGS = int(RecordFlag.ONLY_ARGS)
NO_BUFFERS: list[memoryview] = []
_serving: weakref.WeakSet[WorkerRun] = weakref.WeakSet()


class WorkerRun:
    """The host of the core's worker loop: it knows what the bytes mean.

    See `bsbpool._core.runtime.worker_loop` for the methods that the loop calls.
    """

    parallel = True

    def __init__(self, pool: JobPool, channel: Any) -> None:
        self._pool = pool
        self._channel = channel
        self._run_id = channel.open()
        self._cache = CacheKeeper(pool)
        self._needed: set[int] = set()
        self._uses_cache = False
        self._rank = pool._comm.get_rank()
        self._loop = WorkerLoop(channel, self._run_id, self, self._rank, channel.process_monitor)
        self._served = False
        self._process = os.getpid()
        self._unpicklable: BaseException | None = None  # why a return value cannot be pickled

    # As a pool's run

    def execute(self) -> None:
        """Run jobs until the main rank says that the run is over."""
        self._pool.change_status(PoolStatus.EXECUTING)
        self._served = True
        in_children(_let_go)
        _serving.add(self)
        if not running.job_contexts:
            self._loop.serve_directly(self._pool.owner, running)
        try:
            with self._cache.home(copied=True):
                aborted = self._loop.run()
        except BaseException as error:
            self._tell_main(error_text(error))
            raise
        finally:
            self._cache.free_all()
        self._pool.change_status(PoolStatus.CLOSING)
        if aborted:
            self._tell_main("the run has ended")  # main may think that it is inside a job
        self._conclude(aborted)

    def _conclude(self, aborted: bool) -> None:
        """Say so when the run did not come to its own end."""
        if aborted:
            raise aborted_error(self._rank)

    def let_go(self) -> None:
        """Do without the threads of the parent, in a forked child."""
        self._loop.let_go()

    def leave(self) -> None:
        """Take no more messages of this pool, and drop those that wait."""
        if os.getpid() != self._process:  # a forked child
            return
        if not self._served:  # main may be executing, and count on this rank
            self._tell_main("it left the `with` block without executing the pool")
        self._channel.close(self._run_id)
        self._channel.drop_stale()

    def _tell_main(self, reason: str) -> None:
        if os.getpid() != self._process:
            return
        with suppress(TransportError):
            self._loop.leave(reason.encode(errors="replace"))

    def wake(self) -> None:
        """Do nothing: what is queued here does not run."""

    def needed_tokens(self) -> Collection[int]:
        """Return what the main rank said with its last message."""
        return self._needed

    def perform(self, job: Job) -> None:
        """Refuse: what is queued here does not run."""
        raise exceptions.JobPoolError(
            f"{job.label} was queued on rank {self._rank} and cannot run; only jobs that rank 0 "
            "queues are run"
        )

    # As the loop's host

    def load(self, mode: int, payload: Any, buffers: list[Any]) -> tuple[Any, int]:
        """Unpickle a function; one that cannot be found makes its jobs fail."""
        try:
            return loads(payload, buffers), mode
        except Terminated:
            raise
        except BaseException as error:
            return _Unloadable(error), EXECUTE

    def run(
        self, number: int, function: tuple[Any, int], flags: int, payload: Any, buffers: list[Any]
    ) -> tuple[int, bytes | None, list[memoryview]]:
        """Run a job; return how it ended and its pickled result or error."""
        f, mode = function
        if self._uses_cache:
            self._cache.sweep_if_replaced()
        try:
            args, kwargs = (loads(payload), {}) if flags & ONLY_ARGS else loads(payload, buffers)
            if mode == EXECUTE:
                value = running.call_in_contexts(f.execute, self._pool.owner, args, kwargs)
            elif self._pool.owner is NO_OWNER:
                value = running.call_in_contexts(f, *args, **kwargs)
            else:
                value = running.call_in_contexts(f, self._pool.owner, *args, **kwargs)
            if value is None:
                return OK | NONE, None, NO_BUFFERS
            return OK, *self.pack(value)
        except BaseException as error:
            return self.failed(number, function, error)

    def failed(
        self, number: int, function: tuple[Any, int], error: BaseException
    ) -> tuple[int, bytes, list[memoryview]]:
        """Return what to reply when a job raised."""
        end_if_child_of(self._process, error)
        if isinstance(error, Terminated):
            raise error  # it is not the job that failed
        f, mode = function
        label = _label(f, number)
        if error is self._unpicklable:
            explain(error, f"The return value of {label} cannot be pickled")
        elif mode != EXECUTE or f is FunctionJob:
            note_owner(error, self._pool.owner)
        self._unpicklable = None
        return FAILED, *dump_error(error, self._rank, label)

    def pack(self, value: Any) -> tuple[bytes, list[memoryview]]:
        """Pickle a result."""
        try:
            return dumps(value)
        except BaseException as error:
            self._unpicklable = error  # `failed` knows the job
            raise

    def name_of(self, function: tuple[Any, int]) -> bytes:
        """Return how a function is called."""
        return name_of(function[0]).encode(errors="replace")

    def lost(self, rank: int) -> None:
        """Leave: the main rank has died."""
        raise exceptions.WorkerLostError(f"rank {rank}, which schedules the jobs, has died", rank)

    def needed(self, tokens: memoryview) -> None:
        """Learn which items jobs need from here on."""
        self._uses_cache = True
        self._loop.direct = False
        self._needed.update(tokens)

    def unneeded(self, tokens: memoryview) -> None:
        """Learn which items no job needs any more, and free them."""
        self._needed.difference_update(tokens)
        self._cache.free(tokens)



def _let_go() -> None:
    for run in _serving:
        run.let_go()


def _label(f: Any, number: int) -> str:
    """Return the label of a job as far as a worker knows it: without the arguments."""
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
