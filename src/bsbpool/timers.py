"""A thread that calls functions at given times, while other threads run jobs."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from bsbpool.process import in_children

IDLE_SECONDS = 1.0
"""How long the thread waits for further timers before it ends."""

MOST_CANCELLED = 64
"""How many cancelled timers the heap may hold, or as many as there are others."""

Function = Callable[[], object]


class TimerThread:
    """Calls functions at given times.

    The functions must not block; their errors are logged. The thread exists only while there are
    timers, and for a second after the last one.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._heap: list[tuple[float, int]] = []  # times and numbers, also of cancelled timers
        self._functions: dict[int, Function] = {}
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._running = False

    def call_at(self, at: float, f: Function) -> int:
        """Call `f` when `time.monotonic()` is `at`; return a number for `cancel`."""
        number = next(self._numbers)
        with self._changed:
            if not self._running:
                in_children(self._forget)  # the thread does not exist in forked children
                threading.Thread(target=self._run, name="bsbpool-timers", daemon=True).start()
                self._running = True
            heapq.heappush(self._heap, (at, number))
            self._functions[number] = f
            if self._heap[0][1] == number:
                self._changed.notify()
        return number

    def cancel(self, number: int) -> None:
        """Do not call the function of a timer any more."""
        with self._changed:
            # The last reference to the function is dropped after the lock is released.
            cancelled = self._functions.pop(number, None)
            if cancelled is None:
                return
            if len(self._heap) > 2 * len(self._functions) + MOST_CANCELLED:
                self._heap = [entry for entry in self._heap if entry[1] in self._functions]
                heapq.heapify(self._heap)
            self._drop_first_cancelled()

    def _drop_first_cancelled(self) -> None:
        while self._heap and self._heap[0][1] not in self._functions:
            heapq.heappop(self._heap)

    def _run(self) -> None:
        while True:
            with self._changed:
                f = self._take_due()
                if f is None:
                    if not self._wait():
                        self._running = False
                        return
                    continue
            try:
                f()
            except BaseException:
                from bsbpool.logs import logger

                logger("timers").exception("the function of a timer raised")

    def _take_due(self) -> Function | None:
        if self._heap and self._heap[0][0] <= time.monotonic():
            f = self._functions.pop(heapq.heappop(self._heap)[1], None)
            self._drop_first_cancelled()
            return f
        return None

    def _wait(self) -> bool:
        """Wait until a timer may be due; return False when there was none for some time."""
        if self._heap:
            self._changed.wait(min(self._heap[0][0] - time.monotonic(), threading.TIMEOUT_MAX))
            return True
        return self._changed.wait(IDLE_SECONDS) or bool(self._heap)


timers = TimerThread()
"""The timers of this process."""


class Repeating:
    """Calls a function at a time and every few seconds after it, while this context is entered.

    Parameters
    ----------
    f : callable
        The function; it must not block. After an error it is not called again.
    seconds : float
        The time between two calls.
    at : float
        When `time.monotonic()` is this, the first call is due.
    """

    def __init__(self, f: Callable[[], object], seconds: float, at: float) -> None:
        self._f, self._seconds, self._at = f, seconds, at
        self._number = -1
        self._lock = threading.RLock()
        self._ended = False

    def __enter__(self) -> None:
        self._number = timers.call_at(self._at, self._call)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._ended = True
            timers.cancel(self._number)

    def move(self, at: float) -> None:
        """Let the next call be due at another time; from a signal handler, too."""
        with self._lock:
            if not self._ended:
                timers.cancel(self._number)
                self._number = timers.call_at(at, self._call)

    def _call(self) -> None:
        with self._lock:
            if not self._ended:
                self._f()
                self._number = timers.call_at(time.monotonic() + self._seconds, self._call)
