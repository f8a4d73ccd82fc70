"""Executing a pool on a rank that runs jobs for the main one."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.calling import NO_OWNER
from bsbpool._core.channel import TransportError
from bsbpool._core.wire import RecordFlag, ReplyFlag
from bsbpool._core.worker import WorkerLoop
from bsbpool.execution.cachekeeping import CacheKeeper
from bsbpool.execution.functions import EXECUTE
from bsbpool.interrupts import Terminated
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


class WorkerRun:
    """The host of the core's worker loop: it knows what the bytes mean.

    See `bsbpool._core.worker` for the methods that the loop calls.
    """

    parallel = True

    def __init__(self, pool: JobPool, channel: Any) -> None:
        self._pool = pool
        self._channel = channel
        self._epoch = channel.open()
        self._cache = CacheKeeper(pool)
        self._needed: set[int] = set()
        self._uses_cache = False
        self._rank = pool._comm.get_rank()
        self._loop = WorkerLoop(channel, self._epoch, self, self._rank, channel.neighbours)
        self._served = False

    # As a pool's run

    def execute(self) -> None:
        """Run jobs until the main rank says that the run is over."""
        self._pool.change_status(PoolStatus.EXECUTING)
        self._served = True
        if not running.surroundings:
            self._loop.serve_directly(self._pool.owner, running)
        try:
            with self._cache.home():
                aborted = self._loop.run()
        except BaseException as error:
            self._tell_main(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._cache.free_all()
        self._pool.change_status(PoolStatus.CLOSING)
        if aborted:
            self._tell_main("the run has ended")  # main may think that it is inside a job
        self._conclude(aborted)

    def _conclude(self, aborted: bool) -> None:
        """Say so when the run did not come to its own end."""
        if not aborted:
            return
        raise exceptions.WorkflowError(
            "Unhandled exceptions during parallel execution.",
            [exceptions.JobPoolError("See main node logs for details.")],
        )

    def leave(self) -> None:
        """Take no more messages of this pool, and drop those that wait."""
        if not self._served:  # main may be executing, and count on this rank
            self._tell_main("it left the `with` block without executing the pool")
        self._channel.close(self._epoch)
        self._channel.sweep()

    def _tell_main(self, reason: str) -> None:
        with suppress(TransportError):
            self._loop.leave(reason.encode())

    def wake(self) -> None:
        """Do nothing: what is queued here does not run."""

    def needed_tokens(self) -> Collection[int]:
        """Return what the main rank said with its last message."""
        return self._needed

    def perform(self, job: Job) -> None:
        """Refuse: what is queued here does not run."""
        raise exceptions.JobPoolError(f"{job} was queued on rank {self._rank}; only rank 0 runs")

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
                value = running.call_surrounded(f.execute, self._pool.owner, args, kwargs)
            elif self._pool.owner is NO_OWNER:
                value = running.call_surrounded(f, *args, **kwargs)
            else:
                value = running.call_surrounded(f, self._pool.owner, *args, **kwargs)
            if value is None:
                return OK | NONE, None, NO_BUFFERS
            return OK, *self.pack(value)
        except BaseException as error:
            return self.failed(number, function, error)

    def failed(
        self, number: int, function: tuple[Any, int], error: BaseException
    ) -> tuple[int, bytes, list[memoryview]]:
        """Return what to reply when a job raised."""
        if isinstance(error, Terminated):
            raise error  # it is not the job that failed
        return FAILED, *dump_error(error, self._rank, self._describe(function[0], number))

    def pack(self, value: Any) -> tuple[bytes, list[memoryview]]:
        """Pickle a result."""
        try:
            return dumps(value)
        except BaseException as error:
            error.add_note(f"The result of the job, a {type(value)}, cannot be pickled.")
            raise

    def name_of(self, function: tuple[Any, int]) -> bytes:
        """Return how a function is called."""
        return _name(function[0]).encode(errors="replace")

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

    def _describe(self, f: Any, number: int) -> str:
        return f"job {number}, {_name(f)}"


def _name(f: Any) -> str:
    return getattr(f, "__qualname__", None) or repr(f)


class _Unloadable:
    """Stands for a function that this rank could not unpickle."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def execute(self, owner: Any, args: Any, kwargs: Any) -> Any:
        self._error.add_note(
            "The function of this job could not be unpickled here. Is its module the same, and "
            "importable, on all ranks?"
        )
        raise self._error
