"""The future that `submit` returns.

A `concurrent.futures.Future` creates a lock, a condition and two lists, a dozen objects in all,
before anybody waits for it. `PoolFuture` creates them on first access. Until then only one thread
at a time can be settling the future or creating them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bsbpool._typing import LazyType
from bsbpool.dataflow import reduce_future
from bsbpool.events import CallbackQueue
from bsbpool.logs import logger

if TYPE_CHECKING:
    from bsbpool.job_output import JobOutput
    from bsbpool.metadata import JobMetadata
else:
    JobOutput = LazyType("bsbpool.job_output", "JobOutput")
    JobMetadata = LazyType("bsbpool.metadata", "JobMetadata")

T = TypeVar("T")

_log = logger("executors")
_callbacks = CallbackQueue(max_depth=20)
"""Callbacks of all futures: a callback may end other futures, whose callbacks are called as well.
They nest a few levels deep, because a callback may run an event loop (`asyncio.run`) that itself
waits for other callbacks."""
_lazy_lock = threading.RLock()
"""Guards the creation of lazy attributes. Reentrant, because creating one can start a garbage
collection that accesses another future."""


def renew_lock() -> None:
    """Replace the lock in a forked child: a thread of the parent may have held it."""
    global _lazy_lock
    _lazy_lock = threading.RLock()


class CallRunner(Protocol):
    """The part of a backend that its futures use."""

    def is_current_thread(self) -> bool:
        """Whether the current thread is the one that runs or schedules the calls."""

    def withdraw(self, future: PoolFuture[Any]) -> bool:
        """Make sure that a call does not run; return False when it has started."""

    def interrupt(self, future: PoolFuture[Any]) -> bool:
        """Cancel a call that runs; return False if that is not possible."""

    def is_running(self, future: PoolFuture[Any]) -> bool:
        """Whether a call has started and has not ended."""


class PoolFuture(Future[T]):
    """The future of a call that a backend runs.

    A future is not marked as running when its call starts, because no message says so: `running`
    asks the backend.

    Parameters
    ----------
    backend : CallRunner
        The backend that runs the call.
    """

    __slots__ = (
        "_backend", "_condition", "_done_callbacks", "_exception", "_has_condition", "_result",
        "_state", "_waiters", "call_options", "ended_metadata", "ended_output", "job_number",
        "n_items", "pool_job",
    )  # fmt: skip

    call_options: dict[str, Any] | None  # the options of the call, without deps and cache_items
    ended_metadata: JobMetadata | None  # of a call that has ended, if they were noted
    ended_output: JobOutput | None  # what a call that has ended has written
    job_number: int  # that of a call that has ended, counted over all pools of the executor
    n_items: int  # the number of map items in the call

    def __init__(self, backend: CallRunner) -> None:
        self._backend = backend
        self.pool_job: Any = None  # the job of the call, while it is in a pool; the core sets it
        self._state = PENDING
        self._has_condition = False

    def __getattr__(self, name: str) -> Any:
        if name not in _LAZY_DEFAULTS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with _lazy_lock:
            try:
                return object.__getattribute__(self, name)
            except AttributeError:
                value = _LAZY_DEFAULTS[name]()
                self._has_condition = self._has_condition or name == "_condition"
                setattr(self, name, value)
                return value

    def result(self, timeout: float | None = None) -> T:
        """Return the result of the call, or raise its error."""
        if self._state == FINISHED and self._exception is None:
            return self._result  # type: ignore[return-value]
        self._check_waiting("result", timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error of the call; None when it succeeded."""
        self._check_waiting("exception", timeout)
        return super().exception(timeout)

    def _check_waiting(self, method: str, timeout: float | None) -> None:
        if timeout is None and self._backend.is_current_thread() and not self.done():
            raise RuntimeError(
                f"{method}() would wait for ever: this call or callback runs in the executor's own "
                "thread; use add_done_callback()"
            )

    def belongs_to(self, backend: CallRunner) -> bool:
        """Whether a backend runs the call."""
        return self._backend is backend

    def done(self) -> bool:
        """Return whether the call has ended or was cancelled."""
        return self._state in _DONE_STATES

    def cancelled(self) -> bool:
        """Return whether the call was cancelled."""
        return self._state in _CANCELLED_STATES

    def cancel(self, running: bool = False) -> bool:
        """Cancel the call unless it runs or has ended; return whether it is cancelled.

        Parameters
        ----------
        running : bool
            Whether to cancel a call that runs, too: a JobCancelledError is raised in it, see
            `Job.cancel`. With one process, that is possible only for calls with options.
        """
        if self.done():
            return self.cancelled()
        if not self._backend.withdraw(self) and not (running and self._backend.interrupt(self)):
            return self.cancelled()
        self.mark_cancelled()
        return True

    @property
    def output(self) -> JobOutput | None:
        """What the call has written so far, with the option `capture_output`."""
        job = self.pool_job
        output: JobOutput | None = self.ended_output if job is None else job.output
        return output

    @property
    def metadata(self) -> JobMetadata:
        """When and where the call ran.

        Times, rank and sizes are None unless the call has options, or the executor was made with
        ``timestamps=True``.
        """
        if self.ended_metadata is not None:
            return self.ended_metadata
        job = self.pool_job
        if job is not None:
            metadata: JobMetadata = job.metadata
            return metadata
        from bsbpool.futures.call_metadata import metadata_of_call

        name = str((self.call_options or {}).get("name", "call"))
        return metadata_of_call(self, self.job_number, name)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call ``fn(future)`` when the call ends; immediately if it has ended.

        Inside deeply nested callbacks, a callback of a future that has ended is called after the
        innermost of them.
        """
        if self.done():
            _callbacks.call(super().add_done_callback, fn)
        else:
            super().add_done_callback(fn)

    def _invoke_callbacks(self) -> None:
        # The standard library calls them directly, so callbacks that end other futures would nest.
        if self._done_callbacks:
            _callbacks.call(super()._invoke_callbacks)  # type: ignore[misc]

    def mark_cancelled(self) -> None:
        """Set the state to cancelled and notify all waiters. Any thread may call it, repeatedly."""
        if super().cancel():
            with self._condition:
                # `wait` and `as_completed` only count futures that have notified their waiters.
                if self._state == CANCELLED:
                    self.set_running_or_notify_cancel()

    def settle(self, error: BaseException | None, value: Any = None) -> None:
        """Set the error or the result; errors of callbacks are logged."""
        if self.settle_unobserved(error, value):
            return
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass  # it was cancelled in the meantime
        except BaseException:  # the standard library only logs an Exception
            _log.exception("a callback of %r raised", self)

    def settle_unobserved(self, error: BaseException | None, value: Any) -> bool:
        """Set the error or the result if nobody can be waiting; return False otherwise."""
        with _lazy_lock:
            if self._has_condition:
                return False
            self._result, self._exception = value, error
            self._state = FINISHED
            return True

    def __reduce__(self) -> Any:
        return reduce_future(self, self.pool_job)

    def running(self) -> bool:
        """Return whether the call is running."""
        if super().running():
            return True
        return self._state == PENDING and self._backend.is_running(self)


_LAZY_DEFAULTS: dict[str, Callable[[], Any]] = {
    "_condition": threading.Condition,
    "_waiters": list,
    "_done_callbacks": list,
    "_result": type(None),
    "_exception": type(None),
    "n_items": lambda: 1,
    "call_options": type(None),
    "ended_metadata": type(None),
    "ended_output": type(None),
    "job_number": lambda: -1,
}
"""Factories of the attributes that are created on first access."""
_CANCELLED_STATES = frozenset([CANCELLED, CANCELLED_AND_NOTIFIED])
_DONE_STATES = _CANCELLED_STATES | {FINISHED}
