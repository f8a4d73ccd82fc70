"""Calling callbacks one after the other, however many of them cause the next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from bsbpool.interrupts import is_from_signal


class CallbackQueue(threading.local):
    """Calls functions in turn in each thread.

    A function that is passed to `call` while `deepest` others run inside of each other in the same
    thread is called when the innermost of them has returned. So a chain in which each callback
    causes the next one needs a stack of limited depth.

    Parameters
    ----------
    deepest : int
        How many functions are called inside of each other.
    """

    def __init__(self, deepest: int = 1) -> None:
        self._deepest = deepest
        self._depth = 0
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call(self, f: Callable[..., Any], *args: Any) -> None:
        """Call ``f(*args)``, now or after the functions before it.

        Raises
        ------
        BaseException
            The first error of the functions that this call called, once all of them were called;
            that of a signal at once. The next call then calls those that wait.
        """
        if self._depth == self._deepest:
            self._waiting.append((f, args))
            return
        self._depth += 1
        first: BaseException | None = None
        try:
            while True:
                try:
                    f(*args)
                except BaseException as error:
                    if is_from_signal(error):
                        raise  # a chain may have no end
                    first = first or error
                # Functions wait only while the innermost one runs.
                if not self._waiting:
                    break
                f, args = self._waiting.popleft()
        finally:
            self._depth -= 1
        if first is not None:
            raise first
