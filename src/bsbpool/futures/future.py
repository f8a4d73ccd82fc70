"""What `submit` returns: a future of the standard library that knows its job.

A `concurrent.futures.Future` brings a lock, a condition and lists of those who wait, a dozen
objects, before anybody waits. Here these are made when somebody reaches for them. Until then only
one thread at a time can be about to end the future, or to make them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any

from bsbpool.callbacks import CallbackQueue

if TYPE_CHECKING:
    from bsbpool.futures.backend import Backend

_log = logging.getLogger("bsbpool")
_callbacks = CallbackQueue(max_depth=20)
"""Of all futures: the callbacks of one may end other futures, whose callbacks are called as well.
Several levels deep, since a callback may run a program that waits for other callbacks, as
`asyncio.run` does."""
_making = threading.RLock()
"""Held to make what futures were made without. A collection may make another one meanwhile."""


def renew_lock() -> None:
    """Forget, in a forked child, that a thread of the parent held the lock."""
    global _making
    _making = threading.RLock()


class PoolFuture(Future[Any]):
    """The future of a call that a backend runs.

    Nobody marks it as running when it starts: the core infers that, so who asks, asks the core.

    Parameters
    ----------
    backend : Backend
        Who runs the call.
    """

    __slots__ = (
        "_awaited", "_condition", "_backend", "_done_callbacks", "_exception", "_job", "_result",
        "_state", "_waiters", "n_items", "call_options",
    )  # fmt: skip

    call_options: dict[str, Any] | None  # what the submitter call options about the call
    n_items: int  # how many items of a map it stands for

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._job: Any = None  # what stands for the call at the backend while it waits or runs
        self._state = PENDING
        self._awaited = False  # whether anybody has reached for the condition

    def __getattr__(self, name: str) -> Any:
        if name not in _ABSENT:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with _making:
            try:
                return object.__getattribute__(self, name)
            except AttributeError:
                value = _ABSENT[name]()
                self._awaited = self._awaited or name == "_condition"
                setattr(self, name, value)
                return value

    def result(self, timeout: float | None = None) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self._state == FINISHED and self._exception is None:
            return self._result
        self._check_waiting(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, None when it raised nothing."""
        self._check_waiting(timeout)
        return super().exception(timeout)

    def _check_waiting(self, timeout: float | None) -> None:
        if timeout is None and self._backend.is_here() and not self.done():
            raise RuntimeError(
                "Waiting here would never end, since this call or callback blocks the thread that "
                "runs the executor; use add_done_callback()"
            )

    def done(self) -> bool:
        """Return whether the call has ended, or was cancelled."""
        return self._state in _ENDS

    def cancelled(self) -> bool:
        """Return whether the call was cancelled."""
        return self._state in _CANCELLED

    def cancel(self) -> bool:
        """Cancel the call unless it runs or has ended; return whether it is cancelled."""
        if self.done() or not self._backend.take_back(self):
            return self.cancelled()
        self.be_cancelled()
        return True

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call ``fn(future)`` once the call has ended; now, when it has already.

        Inside of many callbacks of other futures, "now" is after the innermost one.
        """
        if self.done():
            _callbacks.call(super().add_done_callback, fn)
        else:
            super().add_done_callback(fn)

    def _invoke_callbacks(self) -> None:
        # The standard library calls them at once, so callbacks that end other futures would nest.
        if self._done_callbacks:
            _callbacks.call(super()._invoke_callbacks)  # type: ignore[misc]

    def be_cancelled(self) -> None:
        """Become cancelled, and tell those who wait. From any thread; more than once."""
        if super().cancel():
            with self._condition:
                # `wait` and `as_completed` count only those that were told.
                if self._state == CANCELLED:
                    self.set_running_or_notify_cancel()

    def settle(self, error: BaseException | None, value: Any = None) -> None:
        """End with an error or a value; a callback that raises harms nobody else."""
        if self.ends_unnoticed(error, value):
            return
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass  # cancelled meanwhile
        except BaseException:  # the standard library logs an Exception by itself
            _log.exception("a callback of %r raised", self)

    def ends_unnoticed(self, error: BaseException | None, value: Any) -> bool:
        """End while nobody can be waiting; False when somebody may be."""
        with _making:
            if self._awaited:
                return False
            self._result, self._exception = value, error
            self._state = FINISHED
            return True

    def __reduce__(self) -> Any:
        raise TypeError(
            "A future cannot be pickled, so it cannot be an argument or a result of a call: wait "
            "until it has ended and pass future.result(), or use deps=[future] to run the call "
            "after it."
        )

    def running(self) -> bool:
        """Return whether the call is being run."""
        if super().running():
            return True
        return self._state == PENDING and self._backend.is_running(self)


_ABSENT: dict[str, Callable[[], Any]] = {
    "_condition": threading.Condition,
    "_waiters": list,
    "_done_callbacks": list,
    "_result": type(None),
    "_exception": type(None),
    "n_items": lambda: 1,
    "call_options": type(None),
}
"""How to make what a future does not have yet."""
_CANCELLED = frozenset([CANCELLED, CANCELLED_AND_NOTIFIED])
_ENDS = _CANCELLED | {FINISHED}
