"""The callbacks that `MainLoop`, `WorkerLoop` and `SerialLoop` call, as protocols.

The loops are compiled and move jobs, messages and statuses. They know nothing about pickles,
errors, listeners or time limits; for these they call an object that has the methods of one of the
protocols below. All arguments are positional.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sized
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from bsbpool._core.protocol.buffer import Buffer

Encoded: TypeAlias = "tuple[int, bytes, Collection[memoryview]]"
"""A pickle to send: flags, the pickle, and its out-of-band buffers."""

EncodedJob: TypeAlias = "tuple[int, int, bytes, Collection[memoryview]]"
"""A job to send: the number of its function, flags, its pickled arguments, and their buffers."""

Reply: TypeAlias = "tuple[int, bytes | None, Collection[memoryview]]"
"""A reply to send: the flags of `ReplyFlag`, the pickled result or error, and its buffers."""


class LoopCallbacks(Protocol):
    """What `MainLoop` calls, on the main rank.

    A loop that has the pool's jobs stores results itself. It then sends jobs with scalar arguments
    without `encode_job` while it is `direct`, and calls `process_events` only after an event.
    """

    def encode_job(self, job: int, worker: int, /) -> EncodedJob | None:
        """Return what to send to a worker for a job.

        If the job needs data that workers have, the callback calls `MainLoop.data.require`.

        None means that the job cannot be sent. The callback has stored the error then, and the
        loop ends the job as FAILED.
        """

    def function_number(self, f: Any, /) -> int:
        """Return the number of a function that workers keep for further calls, -1 for others."""

    def is_named(self, f: Any, /) -> bool:
        """Whether a function is sent by name; asked for the functions of partials."""

    def encode_function(self, number: int, /) -> Encoded:
        """Return what to send for a function; called once for each worker."""

    def required_functions(self, number: int, /) -> Iterable[int]:
        """Return the numbers of the functions that a worker must load before this one."""

    def take_evicted(self) -> Iterable[int]:
        """Return the functions, evicted since the last call, that workers can drop."""

    def store_reply(
        self,
        job: int,
        flags: int,
        payload: bytes | Buffer,
        buffers: list[Buffer],
        seconds: float,
        /,
    ) -> bool | None:
        """Store a reply before the job's status changes.

        A loop that has the pool's jobs stores successful results itself. True means that a job
        which failed has retries left, and is to run again.
        """

    def gang_started(self, job: int, ranks: tuple[int, ...], /) -> bool:
        """Note the ranks that run a job together; return whether the results of all are wanted."""

    def store_gathered(
        self, job: int, parts: list[tuple[int, bytes | Buffer, list[Buffer]]], /
    ) -> bool:
        """Store the results of all ranks of a job, in order, each as flags, pickle and buffers.

        False means that one cannot be unpickled; the callback has stored the error then.
        """

    def gang_stuck(self, job: int, ranks: list[int], retries: bool, /) -> None:
        """Note that ranks do not leave a job that has failed on another rank of it.

        The job ends now. `retries` tells whether it was to run again, which it does not.
        """

    def refuse_job(self, job: int, /) -> None:
        """Store why no rank can run a job, before it becomes FAILED."""

    def result_unreadable(self, job: int, error: BaseException, /) -> None:
        """Store why a result cannot be unpickled, before the job becomes FAILED.

        Called only while `check_results` or `unpickle_results` of the loop's `replies` is set.
        """

    def data_parcel(self, id: int, /) -> tuple[bytes, Collection[memoryview]] | None:
        """Return data that the main rank has: a pickle and its buffers; None if it has not."""

    def data_unused(self, id: int, /) -> None:
        """Note that workers have dropped data with a negative id, which no job needs."""

    def job_ended(self, job: int, seconds: float, /) -> None:
        """Note that a worker has run a job; not called while the loop is `direct`."""

    def job_output(self, job: int, stream: int, text: bytes | Buffer, /) -> None:
        """Keep output of a running job; `stream` is 1 for stdout and 2 for stderr."""

    def process_events(self) -> bool:
        """Deliver events to callbacks and listeners, and check limits; True ends the loop."""

    def timeout(self) -> float:
        """Return after how many seconds `process_events` must be called without an event."""

    def rank_left(self, rank: int, reason: bytes | Buffer, /) -> None:
        """Handle that a rank stopped serving jobs before the run has ended."""

    def rank_lost(self, rank: int, jobs: list[int], /) -> None:
        """Handle that a rank has failed.

        The jobs that it had begun are about to be ABORTED, those with retries QUEUED again.
        """


class LoopEvents(Protocol):
    """The event queue of a pool, which is asked in each round if the pool has a journal."""

    @property
    def due(self) -> Sized:
        """The callbacks of jobs that have ended."""

    def gather(self) -> None:
        """Turn the changes of statuses into events."""


class WorkerCallbacks(Protocol):
    """What `WorkerLoop` calls, on a worker.

    After `enable_direct_calls` the loop itself calls functions that have scalar arguments.
    `load_function` then returns a pair (function, mode), and the loop calls functions of mode 0.
    """

    def load_function(self, flags: int, payload: bytes | Buffer, buffers: list[Buffer], /) -> Any:
        """Unpickle a function.

        Errors must not be raised but reported by the jobs that call the function.
        """

    def function_name(self, function: Any, /) -> bytes:
        """Return the name of a loaded function, for the report of a fault."""

    def run_job(
        self,
        job: int,
        function: Any,
        flags: int,
        payload: bytes | Buffer,
        buffers: list[Buffer],
        /,
    ) -> Reply:
        """Run a job and return its reply, also when the job raises."""

    def pack_result(self, value: Any, /) -> tuple[bytes, Collection[memoryview]]:
        """Pickle a result of a direct call. What this raises is passed to `job_failed`."""

    def job_failed(self, job: int, function: Any, error: BaseException, /) -> Reply:
        """Return the reply for a direct call that raised."""

    def items_needed(self, tokens: memoryview, /) -> None:
        """Note the cache items that jobs need from now on, as a view of 64-bit integers."""

    def items_unneeded(self, tokens: memoryview, /) -> None:
        """Free the cache items that no job needs anymore."""

    def ranks_died(self) -> bool:
        """Handle the death of ranks of this node; False to be called again later."""

    def data_dropped(self, id: int, /) -> None:
        """Note that data with a negative id were dropped."""

    def gang_formed(self, job: int, serial: int, ranks: memoryview, /) -> None:
        """Make or find the communicator with a number, for a job that these ranks are to run.

        Errors must not be raised but reported by the job.
        """

    def gang_freed(self, serial: int, discarded: bool, /) -> None:
        """Free a communicator, or only drop it."""

    def main_lost(self, rank: int, /) -> None:
        """Raise an error: the main rank has failed."""


class SerialCallbacks(Protocol):
    """What `SerialLoop` calls, in a process that runs its jobs itself."""

    def deliver_events(self) -> None:
        """Deliver events, after a status change that is tracked or a failure."""

    def uses_job_thread(self) -> bool:
        """Whether `perform` runs the jobs; asked before each job while all jobs are tracked."""

    def perform(self, job: Any, /) -> None:
        """Run a job and end it."""

    def call_job(self, job: Any, /) -> Any:
        """Call a job that has jobs among its arguments, or any job, and return its result."""

    def job_failed(self, job: Any, error: BaseException, /) -> None:
        """End a job that raised. An error that is not the job's, as of a signal, is raised."""

    def free_unneeded_items(self) -> None:
        """Free the cache items that no job needs anymore; called after each job of such a pool."""

    def check_time_limit(self) -> None:
        """Raise when the time of the run is up; called before the next job of a limited run."""
