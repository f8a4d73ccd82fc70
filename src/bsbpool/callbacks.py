"""Calling callbacks that cause further callbacks, with a stack of limited depth."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from bsbpool._typing import Any
from bsbpool.interrupts import is_from_signal


class CallbackQueue(threading.local):
    """Calls functions one after the other, separately in each thread.

    While `max_depth` functions run inside each other in a thread, further functions that are
    passed to `call` wait until the innermost one has returned. So a chain in which each callback
    causes the next one does not need a deep stack.

    Parameters
    ----------
    max_depth : int
        The number of functions that are called inside each other.
    """

    def __init__(self, max_depth: int = 1) -> None:
        self._max_depth = max_depth
        self._depth = 0
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def call(self, f: Callable[..., Any], *args: Any) -> None:
        """Call ``f(*args)``, now or after the functions that run in this thread.

        Raises
        ------
        BaseException
            The first error of the functions that this call called, after all of them; the error
            of a signal at once. The next call then calls the functions that still wait.
        """
        if self._depth == self._max_depth:
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
                        raise  # a chain may be endless
                    first = first or error
                # Functions wait only while the innermost one runs.
                if not self._waiting:
                    break
                f, args = self._waiting.popleft()
        finally:
            self._depth -= 1
        if first is not None:
            raise first
