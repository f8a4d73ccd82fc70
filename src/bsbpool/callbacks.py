"""Calling callbacks one after the other, however many of them cause the next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class CallbackQueue(threading.local):
    """Calls functions in turn in each thread.

    A function that is passed to `call` while another one runs in the same thread is called after
    that one has returned. So a chain in which each callback causes the next one does not nest.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._calling = False

    def call(self, f: Callable[..., Any], *args: Any) -> None:
        """Call ``f(*args)``, now or after the functions before it.

        Raises
        ------
        BaseException
            The first error of the functions that this call called, once all of them were called.
        """
        self._waiting.append((f, args))
        if self._calling:
            return
        self._calling = True
        first: BaseException | None = None
        try:
            while self._waiting:
                f, args = self._waiting.popleft()
                try:
                    f(*args)
                except BaseException as error:
                    first = first or error
        finally:
            self._calling = False
        if first is not None:
            raise first
