"""Signals that wait until they can be handled.

The handlers of SIGINT and SIGTERM raise an error between any two bytecodes of the main thread. A
main thread that must not leave a block before another thread has ended lets them wait.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bsbpool.process import OWN_HANDLERS, in_children

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class HeldSignals:
    """Signals wait in this context, except inside of `allowed`. For the main thread.

    Examples
    --------
    >>> with HeldSignals() as held:
    ...     with held.allowed():
    ...         pass  # Ctrl-C raises here
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._allowed = False
        self._waiting: list[int] = []
        self._handle: Any = self._note  # one object, to recognize it

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            in_children(_restore_all)
            _present.append(self)
            for number in NUMBERS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self in _present:
            _present.remove(self)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is self._handle:  # else the program has set another one
                signal.signal(number, handler)

    def restore_in_child(self) -> None:
        """Restore the handlers of the program, and the default actions in place of our own."""
        for number, handler in self._handlers.items():
            is_own = getattr(handler, "__module__", None) in OWN_HANDLERS
            signal.signal(number, signal.SIG_DFL if is_own else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._allowed:
            self._waiting.append(number)
            return
        self._allowed = False  # a second signal must not raise in the code that handles the first
        self._handlers[number](number, frame)
        self._allowed = True

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Call the handlers in this context; after the first error signals wait again."""
        self._allowed = True
        try:
            self.handle_waiting()
            yield
        finally:
            self._allowed = False

    def handle_waiting(self) -> None:
        """Call the handlers of the signals that wait."""
        while self._waiting:
            number = self._waiting.pop(0)
            self._handlers[number](number, None)


_present: list[HeldSignals] = []


def _restore_all() -> None:
    for held in _present:
        held.restore_in_child()
