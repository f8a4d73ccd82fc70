"""A backend of one process: a thread that runs one call after the other.

What goes in and comes out is pickled, as it is on the way to another rank: a program that
works with one process works with many.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from typing import Any

from bsbpool import caching
from bsbpool.forks import end_if_child_of
from bsbpool.futures import chunks
from bsbpool.futures.backend import Backend, Call, Failed
from bsbpool.futures.errors import dependency_error
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.preparing import Prepared, packed, unpickled
from bsbpool.naming import explain, name_of
from bsbpool.remote_errors import dump_error, load_error
from bsbpool.serialization import Parcel, dumps, loads

Outcome = tuple[BaseException | None, Any]


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
        self._waiting: set[PoolFuture] = set()
        self._begun: PoolFuture | None = None
        self._ending = False
        self._process = os.getpid()

    def _work(self) -> None:
        chunks.here.process = self._process
        home = caching.CacheScope()
        try:
            with caching.cache_scope(home, caching.Copies(None)):
                self._run_calls()
        finally:
            caching.free_stale_pool_cache(home, ())

    def _run_calls(self) -> None:
        self._prepare()
        while not (self._ending and self._calls.empty()):
            call = self._calls.get()
            self._run_deferred_calls()
            if call is not None:
                self._run(call)
            del call  # it may hold a lot while nothing else comes

    def _prepare(self) -> None:
        prepared = Prepared()
        try:
            parcel = packed(self._initializer, self._initargs)
            if parcel is not None:
                prepared.by(*parcel)
        except BaseException as error:
            self.broken = error
        if prepared.error is not None:
            self.broken = prepared.error

    def _run(self, call: Call) -> None:
        with self._lock:
            if call.future not in self._waiting:
                return  # it was taken back
            self._waiting.discard(call.future)
            self._begun = call.future
        error, value = self._outcome(call)
        with self._lock:
            self._begun = None
        call.future.settle(error, value)

    def _outcome(self, call: Call) -> Outcome:
        """Run a call. Whatever goes wrong is its error, for no signal raises in this thread."""
        try:
            if self.broken is not None:
                return self.error(), None
            for dep in call.deps:
                if (error := dependency_error(dep)) is not None:
                    return error, None
            return _run_apart(call, self._process)
        except BaseException as error:
            return error, None

    def _take(self, call: Call) -> Failed:
        self._waiting.add(call.future)
        self._calls.put(call)
        return []

    def _consider_ending(self) -> None:
        if self._closed and not self._streams and not self._ending:
            self._ending = True
            self._wake()

    def _wake(self) -> None:
        self._calls.put(None)

    def _is_busy(self) -> bool:
        return self._begun is not None or not self._waiting

    def _cancel_waiting(self) -> None:
        with self._lock:
            futures = list(self._waiting)
        for future in futures:
            future.cancel()

    def take_back(self, future: PoolFuture) -> bool:
        """See to it that a call does not run; False when it has begun."""
        with self._lock:
            if future not in self._waiting:
                return False
            self._waiting.discard(future)
            return True

    def is_running(self, future: PoolFuture) -> bool:
        """Whether a call has begun."""
        return self._begun is future

    def abandon(self) -> None:
        """End once the call that runs has ended."""
        self.close(cancel=True)


def _run_apart(call: Call, process: int) -> Outcome:
    """Run a call on copies, as another rank would, in a process and not in its children."""
    try:
        payload, buffers = dumps((call.f, call.args, call.kwargs))
    except BaseException as error:
        explain(error, f"The function or the arguments of {name_of(call.f)}() cannot be pickled")
        raise
    failed = False
    try:
        f, args, kwargs = loads(payload, _apart(buffers))
        payload, buffers = _packed(f(*args, **kwargs), call.f)
    except BaseException as error:
        end_if_child_of(process, error)
        payload, buffers = dump_error(error, 0, name_of(call.f))
        failed = True
    if failed:
        return load_error(payload, _apart(buffers)), None
    return None, unpickled(loads, payload, _apart(buffers))


def _packed(value: Any, f: Any) -> Parcel:
    try:
        return dumps(value)
    except BaseException as error:
        explain(error, f"The return value of {name_of(f)}() cannot be pickled")
        raise


def _apart(buffers: list[memoryview]) -> list[bytearray]:
    """Copy buffers, as they arrive on another rank."""
    return [bytearray(buffer) for buffer in buffers]
