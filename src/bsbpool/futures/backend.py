"""Who runs the calls of an executor, while it is open: other ranks, or a thread here."""

from __future__ import annotations

import abc
import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from bsbpool._core.jobs.call_arguments import check_arguments
from bsbpool.forks import in_children
from bsbpool.futures.chunks import Packing
from bsbpool.futures.errors import BrokenPoolError, InitializerError
from bsbpool.futures.future import PoolFuture, renew_lock
from bsbpool.naming import error_text


class Call(NamedTuple):
    """A call that somebody submitted."""

    future: PoolFuture
    f: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deps: tuple[PoolFuture, ...] = ()
    cache_items: Any = None


SECONDS_TO_BEGIN = 0.5
"""The most that a cancelling shutdown waits for calls to begin; as a rule it is a millisecond."""

Failed = list[tuple[PoolFuture, BaseException]]
"""Calls that cannot run, and why."""


def settle(failed: Failed) -> None:
    """Tell those who wait for calls that cannot run."""
    for future, error in failed:
        future.settle(error)


_living: weakref.WeakSet[Backend] = weakref.WeakSet()
_thread = threading.local()
_end_has_come = threading.Event()
atexit.register(_end_has_come.set)


def check_time() -> None:
    """Refuse to begin when the interpreter ends: it would not wait for the calls."""
    if _end_has_come.is_set():
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def is_of_a_backend() -> bool:
    """Whether the current thread is one in which a backend lives."""
    return getattr(_thread, "is_of_a_backend", False)


class Backend(abc.ABC):
    """Takes calls from any thread, and has a thread of its own that sees to them.

    The thread is a daemon, since the interpreter waits for others before it tells anybody
    that it ends; it is joined at exit.
    """

    n_workers = 1
    inherited = False
    """Whether this process was forked from the one that has the thread and the workers."""
    spare = False
    """Whether who needs its workers may close it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._closed = self._gone = False
        self._streams: set[Any] = set()
        self._deferred_calls: deque[Callable[[], object]] = deque()
        self.broken: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="bsbpool-executor", daemon=True)

    def start(self) -> None:
        """Let calls run."""
        in_children(_let_go)
        _living.add(self)
        atexit.register(self._at_exit)
        self._thread.start()

    def _live(self) -> None:
        _thread.is_of_a_backend = True
        try:
            self._work()
        finally:
            self._closed = True
            self._gone = True
            self._deferred_calls.clear()
            atexit.unregister(self._at_exit)

    def let_go(self) -> None:
        """Close, in a forked child; a thread that does not exist there may have held the lock."""
        self._lock = threading.RLock()
        self._closed = self._gone = self.inherited = True

    def _at_exit(self) -> None:
        self.close()
        self.join()

    def submit(
        self, future: PoolFuture, f: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Take a call about which nothing else is call options."""
        self.queue(Call(future, f, args, kwargs))

    def packing(self, f: Callable[..., Any], items: list[Any]) -> Packing:
        """Return how a map of a function is pickled.

        Parameters
        ----------
        f : callable
            The function.
        items : list
            The items that have been read.
        """
        return Packing(f)

    def queue(self, call: Call, stream: Any = None) -> None:
        """Take a call.

        Parameters
        ----------
        call : Call
            What to run.
        stream : Stream, optional
            What it belongs to, and what may go on when no more calls are taken.

        Raises
        ------
        BrokenExecutor, RuntimeError
            When no calls are taken any more.
        TypeError
            When an argument is a job or a future.
        """
        check_arguments(call.args, call.kwargs)
        with self._lock:
            if self.broken is not None:
                raise self.error()
            if self._closed and stream not in self._streams:
                raise RuntimeError("cannot schedule new futures after shutdown")
            failed = self._take(call)
        settle(failed)  # without the lock, for which callbacks may make others wait

    def error(self) -> BaseException:
        """Return what to raise once the backend is broken."""
        assert self.broken is not None
        if isinstance(self.broken, InitializerError):
            error: BaseException = InitializerError(*self.broken.args)
        else:
            error = BrokenPoolError(
                f"The executor cannot run more calls because its pool ended with "
                f"{error_text(self.broken)}"
            )
        error.__cause__ = self.broken
        return error

    @property
    def closed(self) -> bool:
        """Whether no more calls are taken."""
        return self._closed

    def open_stream(self, stream: Any) -> None:
        """Stay open until this stream has queued all that it has."""
        with self._lock:
            if self.broken is not None:
                raise self.error()
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._streams.add(stream)

    def end_stream(self, stream: Any) -> None:
        """Do not wait for this stream any more."""
        with self._lock:
            self._streams.discard(stream)
            self._consider_ending()

    def close(self, cancel: bool = False) -> None:
        """Take no more calls; end when all have run."""
        if self.inherited:
            return
        with self._lock:
            self._closed = True
            streams = list(self._streams)
            # The others go on only while somebody reads them, who may be waiting for this end.
            self._streams = {stream for stream in streams if stream.eager}
            self._consider_ending()
        if cancel:
            self._let_begin()
            for stream in streams:
                stream.close()
            self._cancel_waiting()

    def _let_begin(self) -> None:
        """Wait a little for the first calls to begin, for which workers are free."""
        end = time.monotonic() + SECONDS_TO_BEGIN
        while self._thread.is_alive() and not self._is_busy() and time.monotonic() < end:
            time.sleep(0.001)

    def is_lingering(self) -> bool:
        """Whether who needs its workers, once it is closed, has to wait for calls that run."""
        return False

    def drop(self) -> None:
        """Take no more calls, and soon do what else `close` does; takes no lock, as `soon`."""
        self._closed = True
        self.soon(self.close)

    def soon(self, deferred_call: Callable[[], object]) -> None:
        """Have something called in the thread, while that lives.

        Takes no lock. Finalizers are called in whichever thread collects garbage, and that may
        hold a lock for which the owner of another one waits.
        """
        if not self._gone:
            self._deferred_calls.append(deferred_call)
            self._wake()

    def _run_deferred_calls(self) -> None:
        while self._deferred_calls:
            self._deferred_calls.popleft()()

    def is_here(self) -> bool:
        """Whether the current thread is the one that sees to the calls."""
        return threading.current_thread() is self._thread

    def join(self) -> None:
        """Wait until all has ended."""
        if not self.is_here():
            self._thread.join()

    @abc.abstractmethod
    def _work(self) -> None:
        """See to the calls until all have ended and no more are taken; in the thread."""

    @abc.abstractmethod
    def _wake(self) -> None:
        """Let the thread look for errands; takes no lock."""

    @abc.abstractmethod
    def _take(self, call: Call) -> Failed:
        """Take a call; with the lock. Return which calls cannot run, and why."""

    @abc.abstractmethod
    def _consider_ending(self) -> None:
        """End, once `_closed` and without `_streams`; with the lock."""

    @abc.abstractmethod
    def _is_busy(self) -> bool:
        """Whether a call runs, or none waits."""

    @abc.abstractmethod
    def _cancel_waiting(self) -> None:
        """Cancel the futures of all calls that have not begun."""

    @abc.abstractmethod
    def take_back(self, future: PoolFuture) -> bool:
        """See to it that a call does not run; False when it has begun."""

    @abc.abstractmethod
    def is_running(self, future: PoolFuture) -> bool:
        """Whether a call has begun."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """End now: wait for nothing that runs."""


def _let_go() -> None:
    renew_lock()
    for backend in _living:
        backend.let_go()
