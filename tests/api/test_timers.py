"""The thread that calls functions at given times."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from functools import partial

from bsbpool.timers import MOST_CANCELLED, TimerThread

from .support import until


class Function:
    """A function that can be weakly referenced."""

    def __call__(self) -> None:
        raise AssertionError("a cancelled timer was called")


def test_cancelled_timers_are_freed() -> None:
    timers = TimerThread()
    now = time.monotonic()
    first = timers.call_at(now + 3600, Function())
    functions = [Function() for _ in range(1000)]
    refs = [weakref.ref(f) for f in functions]
    numbers = [timers.call_at(now + 7200, f) for f in functions]
    del functions
    for number in numbers:
        timers.cancel(number)
    assert not any(ref() for ref in refs)
    assert len(timers._heap) <= MOST_CANCELLED + 2
    timers.cancel(first)
    assert not timers._heap


def test_timers_are_called_in_order() -> None:
    timers = TimerThread()
    now = time.monotonic()
    called: list[int] = []
    numbers = [
        timers.call_at(now + 0.05 + n * 1e-4, partial(called.append, n)) for n in range(200)
    ]
    for number in numbers[::2]:
        timers.cancel(number)
    assert until(lambda: len(called) == 100)
    assert called == list(range(1, 200, 2))


def test_the_thread_outlives_errors(caplog) -> None:
    timers = TimerThread()
    called = threading.Event()
    with caplog.at_level(logging.ERROR, "bsbpool"):
        timers.call_at(time.monotonic(), lambda: 1 / 0)
        timers.call_at(time.monotonic() + 0.01, called.set)
        assert called.wait(10)
    assert "the function of a timer raised" in caplog.text and "ZeroDivisionError" in caplog.text
