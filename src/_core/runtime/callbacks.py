"""The callbacks that `MainLoop`, `WorkerLoop` and `SerialLoop` call, as protocols.

The loops are compiled and move jobs, messages and statuses. They know nothing about pickles,
errors, listeners or time limits; for these they call an object that has the methods of one of the
protocols below. All arguments are positional.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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

    def encode_job(self, job: int, /) -> EncodedJob | None:
        """Return what to send for a job.

        None means that the job cannot be sent. The callback has stored the error then, and the
        loop ends the job as FAILED.
        """

    def function_number(self, f: Any, /) -> int:
        """Return the number of a function that workers keep for further calls, -1 for others."""

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
    ) -> None:
        """Store a reply before the job's status changes.

        A loop that has the pool's jobs stores successful results itself.
        """

    def result_unreadable(self, job: int, error: BaseException, /) -> None:
        """Store why a result cannot be unpickled, before the job becomes FAILED.

        Called only while the loop's `check_results` or `unpickle_results` is set.
        """

    def job_ended(self, job: int, seconds: float, /) -> None:
        """Note that a worker has run a job; not called while the loop is `direct`."""

    def process_events(self) -> bool:
        """Deliver events to callbacks and listeners, and check limits; True ends the loop."""

    def timeout(self) -> float:
        """Return after how many seconds `process_events` must be called without an event."""

    def rank_left(self, rank: int, reason: bytes | Buffer, /) -> None:
        """Handle that a rank stopped serving jobs before the run has ended."""

    def rank_lost(self, rank: int, jobs: list[int], /) -> None:
        """Handle that a rank has failed; the jobs that it had begun are about to be ABORTED."""


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

    def job_failed(self, job: Any, error: BaseException, /) -> None:
        """End a job that raised. An error that is not the job's, as of a signal, is raised."""

    def free_unneeded_items(self) -> None:
        """Free the cache items that no job needs anymore; called after each job of such a pool."""

    def check_time_limit(self) -> None:
        """Raise when the time of the run is up; called before the next job of a limited run."""
