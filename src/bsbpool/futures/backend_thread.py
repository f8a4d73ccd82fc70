"""The backend of an executor with one process: a thread runs one call after the other.

Functions, arguments and results are pickled as they are for another rank, so that a program that
works with one process works with many.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bsbpool import caching, execution
from bsbpool.dataflow import sending
from bsbpool.exceptions import JobCancelledError
from bsbpool.futures.backend import Backend
from bsbpool.futures.call_options import Special
from bsbpool.futures.call_order import CallOrder, is_ready
from bsbpool.futures.calls import Call, FailedCalls
from bsbpool.futures.chunks import worker_process
from bsbpool.futures.errors import dependency_error
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.initializer import InitializerState, pack_initializer
from bsbpool.futures.plain_values import load_result
from bsbpool.naming import explain, name_of
from bsbpool.process import end_if_child_of
from bsbpool.remote_errors import dump_error, load_error
from bsbpool.serialization import Parcel, copies_of, dumps, loads
from bsbpool.settings import PoolSettings

if TYPE_CHECKING:
    from bsbpool.futures.single_call import SingleCall

Outcome = tuple[BaseException | None, Any]
"""The error and the result of a call."""


class ThreadBackend(Backend):
    """Runs calls in a thread.

    Parameters
    ----------
    initializer : callable, optional
        Called in the thread before the first call.
    initargs : tuple
        Its arguments.
    settings : PoolSettings, optional
        Further settings, for calls with options.
    """

    def __init__(
        self,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        settings: PoolSettings | None = None,
    ) -> None:
        super().__init__()
        self._settings = settings or PoolSettings()
        self._service = execution.service_for(None)
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._initializer, self._initargs = initializer, initargs
        self._order = CallOrder(self._calls)
        self._waiting: set[PoolFuture[Any]] = set()
        self._running: PoolFuture[Any] | None = None
        self._single: SingleCall | None = None  # the pool of the call that runs, if it has options
        self._can_interrupt = False  # whether that call has options and can still be cancelled
        self._timers: dict[PoolFuture[Any], int] = {}  # of the option `dependency_timeout`
        self._ending = False
        self._process = os.getpid()

    def _run_calls(self) -> None:
        worker_process.pid = self._process
        cache = caching.CacheScope()
        try:
            with caching.cache_scope(cache, caching.Copies(None)):
                self._run_initializer()
                self._run_queue()
        finally:
            caching.free_stale_pool_cache(cache, ())

    def _run_initializer(self) -> None:
        state = InitializerState()
        try:
            packed = pack_initializer(self._initializer, self._initargs)
            if packed is not None:
                state.run_once(*packed)
        except BaseException as error:
            self.broken = error
        if state.error is not None:
            self.broken = state.error

    def _run_queue(self) -> None:
        while not (self._ending and self._order.empty()):
            call = self._order.next()
            self._run_deferred_calls()
            if call is not None:
                self._run_call(call)
            del call  # it may hold large arguments while the thread waits

    def _run_call(self, call: Call) -> None:
        with self.lock:
            if call.future not in self._waiting:
                return  # it was withdrawn
            self._stop_waiting(call.future)
            self._running = call.future
            self._can_interrupt = call.special is not None
        error, value = self._outcome(call)
        with self.lock:
            self._running = None
        call.future.settle(error, value)

    def _outcome(self, call: Call) -> Outcome:
        """Run a call. Every exception is its error, because signals raise in the main thread."""
        try:
            if self.broken is not None:
                return self.error(), None
            for dep in call.deps:
                if (error := dependency_error(dep)) is not None:
                    return error, None
            if call.special is not None:
                return self._outcome_of_special(call, call.special)
            return _run_on_copies(call, self._process)
        except BaseException as error:
            return error, None

    def _outcome_of_special(self, call: Call, special: Special) -> Outcome:
        from bsbpool.futures.conditions import condition_error
        from bsbpool.futures.single_call import SingleCall

        if (error := condition_error(special)) is not None:
            return error, None
        single = SingleCall(self._service, self._settings)
        single.run_context.on_attempt = self.attempt_failed

        def begin() -> bool:
            with self.lock:
                if self._can_interrupt:
                    self._single = single
                return self._can_interrupt

        try:
            error, value, call.future.ended_metadata = single.run_call(call, begin)
        finally:
            with self.lock:
                self._single, self._can_interrupt = None, False
        return error, value

    def _accept(self, call: Call) -> FailedCalls:
        self._waiting.add(call.future)
        if call.special is not None:
            self._order.prepare(call.special)
            self._limit_waiting(call, call.special.options.dependency_timeout)
        self._calls.put(call)
        return []

    def _limit_waiting(self, call: Call, seconds: float | None) -> None:
        """Cancel a call if its dependencies do not end in time."""
        if seconds is None or is_ready(call):
            return
        from bsbpool.timers import timers

        def expire() -> None:
            waits = not is_ready(call)
            if waits and self.withdraw(call.future):
                call.future.settle(
                    JobCancelledError(
                        f"The dependencies of {name_of(call.f)}() did not end within its "
                        f"dependency_timeout of {seconds:g} s"
                    )
                )

        self._timers[call.future] = timers.call_at(time.monotonic() + seconds, expire)

    def _stop_waiting(self, future: PoolFuture[Any]) -> None:
        """Note that a call does not wait any more, and drop its timer, which refers to it."""
        self._waiting.discard(future)
        if (number := self._timers.pop(future, None)) is not None:
            from bsbpool.timers import timers

            timers.cancel(number)

    def _end_if_closed(self) -> None:
        if self._closed and not self._maps and not self._ending:
            self._ending = True
            self._wake()

    def _wake(self) -> None:
        self._calls.put(None)

    def _is_busy(self) -> bool:
        return self._running is not None or not self._waiting

    def _cancel_waiting(self) -> None:
        with self.lock:
            futures = list(self._waiting)
        for future in futures:
            future.cancel()

    def withdraw(self, future: PoolFuture[Any]) -> bool:
        """Make sure that a call does not run; return False when it has started."""
        with self.lock:
            if future not in self._waiting:
                return False
            self._stop_waiting(future)
            return True

    def interrupt(self, future: PoolFuture[Any]) -> bool:
        """Cancel a call that runs; only a call with options can be cancelled then."""
        with self.lock:
            if self._running is not future or not self._can_interrupt:
                return False
            if self._single is not None:
                return self._single.interrupt()
            self._can_interrupt = False  # the call has no job yet, and will not run
            return True

    def is_running(self, future: PoolFuture[Any]) -> bool:
        """Whether a call has started and has not ended."""
        return self._running is future

    def abort(self) -> None:
        """End when the call that runs has ended; a thread cannot be stopped."""
        self.close(cancel=True)


def _run_on_copies(call: Call, process: int) -> Outcome:
    """Run a call on copies of its function and arguments, as another rank would.

    A child that the call forks from `process` ends here when the call raises in it.
    """
    try:
        with sending():
            payload, buffers = dumps((call.f, call.args, call.kwargs))
    except BaseException as error:
        explain(error, f"The function or the arguments of {name_of(call.f)}() cannot be pickled")
        raise
    failed = False
    try:
        f, args, kwargs = loads(payload, copies_of(buffers))
        payload, buffers = _pickle_result(f(*args, **kwargs), call.f)
    except BaseException as error:
        end_if_child_of(process, error)
        payload, buffers = dump_error(error, 0, name_of(call.f))
        failed = True
    if failed:
        return load_error(payload, copies_of(buffers)), None
    return None, load_result(loads, payload, copies_of(buffers))


def _pickle_result(value: Any, f: Any) -> Parcel:
    try:
        return dumps(value)
    except BaseException as error:
        explain(error, f"The return value of {name_of(f)}() cannot be pickled")
        raise
