"""Signals that end the process: SIGTERM of the batch system, Ctrl-C of the user.

Pickling calls code of the objects that are pickled, and this code may raise a KeyboardInterrupt or
a SystemExit. `marking_signals` marks the errors that signal handlers raise, so that
`is_from_signal` can distinguish the two.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bsbpool._typing import Any
from bsbpool.forks import in_children


class Terminated(SystemExit):
    """The process received SIGTERM while it executed a pool.

    If it is not caught, the process ends with exit code 143, which stands for SIGTERM.
    """


@contextmanager
def raising_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the main thread, so that a run can end on all ranks.

    By default SIGTERM ends the process at once. A handler that the program has set is kept.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    in_children(_restore_default)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        _restore_default()


def _terminate(number: int, frame: object) -> None:
    raise Terminated(128 + number)


def _restore_default() -> None:
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def is_from_signal(error: BaseException) -> bool:
    """Whether the handler of a signal raised an error, in the main thread.

    Outside of `marking_signals` errors have no marks, and each KeyboardInterrupt counts as Ctrl-C.
    """
    if isinstance(error, Terminated) or _MARK in _attributes(error):
        return True
    return (
        isinstance(error, KeyboardInterrupt)
        and not _marks.active
        and threading.current_thread() is threading.main_thread()
    )


@contextmanager
def marking_signals() -> Iterator[None]:
    """Mark the errors that handlers of SIGINT and SIGTERM raise, for `is_from_signal`."""
    if _marks.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    _marks.active = True
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        # Handlers of this module need no mark: they raise Terminated.
        if callable(handler) and getattr(handler, "__module__", None) != __name__:
            _replaced[number] = handler, _marking(handler)
            signal.signal(number, _replaced[number][1])
    try:
        yield
    finally:
        for replaced, (handler, marking) in _replaced.items():
            if signal.getsignal(replaced) is marking:  # else the program has set another one
                signal.signal(replaced, handler)
        _replaced.clear()
        _marks.active = False


def _marking(handler: Handler) -> Handler:
    """Return a handler that calls `handler` and marks its errors."""

    def handle(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            _attributes(error)[_MARK] = True
            raise

    return handle


def _attributes(error: BaseException) -> dict[str, Any]:
    """Return the ``__dict__`` of an error, without calling code of its class."""
    attributes: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return attributes


class _Marks:
    """Whether errors of signals are marked; also True where the program ignores these signals."""

    active = False


Handler = Callable[[int, Any], Any]
_marks = _Marks()
_MARK = "_bsbpool_from_signal"
_replaced: dict[int, tuple[Handler, Handler]] = {}
"""For each signal, the handler of the program and the handler that replaces it."""
