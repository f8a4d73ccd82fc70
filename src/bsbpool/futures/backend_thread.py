"""The backend of an executor with one process: a thread runs one call after the other.

Functions, arguments and results are pickled as they are for another rank, so that a program that
works with one process works with many.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from typing import Any

from bsbpool import caching
from bsbpool.futures.backend import Backend, Call, FailedCalls
from bsbpool.futures.chunks import worker_process
from bsbpool.futures.errors import dependency_error
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.initializer import InitializerState, pack_initializer
from bsbpool.futures.plain_values import load_result
from bsbpool.naming import explain, name_of
from bsbpool.process import end_if_child_of
from bsbpool.remote_errors import dump_error, load_error
from bsbpool.serialization import Parcel, dumps, loads

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
    """

    def __init__(
        self, initializer: Callable[..., Any] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._initializer, self._initargs = initializer, initargs
        self._waiting: set[PoolFuture[Any]] = set()
        self._running: PoolFuture[Any] | None = None
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
        while not (self._ending and self._calls.empty()):
            call = self._calls.get()
            self._run_deferred_calls()
            if call is not None:
                self._run_call(call)
            del call  # it may hold large arguments while the thread waits

    def _run_call(self, call: Call) -> None:
        with self.lock:
            if call.future not in self._waiting:
                return  # it was withdrawn
            self._waiting.discard(call.future)
            self._running = call.future
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
            return _run_on_copies(call, self._process)
        except BaseException as error:
            return error, None

    def _accept(self, call: Call) -> FailedCalls:
        self._waiting.add(call.future)
        self._calls.put(call)
        return []

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
            self._waiting.discard(future)
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
        payload, buffers = dumps((call.f, call.args, call.kwargs))
    except BaseException as error:
        explain(error, f"The function or the arguments of {name_of(call.f)}() cannot be pickled")
        raise
    failed = False
    try:
        f, args, kwargs = loads(payload, _copied(buffers))
        payload, buffers = _pickle_result(f(*args, **kwargs), call.f)
    except BaseException as error:
        end_if_child_of(process, error)
        payload, buffers = dump_error(error, 0, name_of(call.f))
        failed = True
    if failed:
        return load_error(payload, _copied(buffers)), None
    return None, load_result(loads, payload, _copied(buffers))


def _pickle_result(value: Any, f: Any) -> Parcel:
    try:
        return dumps(value)
    except BaseException as error:
        explain(error, f"The return value of {name_of(f)}() cannot be pickled")
        raise


def _copied(buffers: list[memoryview]) -> list[bytearray]:
    """Copy buffers, as sending them would."""
    return [bytearray(buffer) for buffer in buffers]
