"""Being told to end, by the batch system or by the user.

Pickling runs code of the objects that are pickled, and that may raise a KeyboardInterrupt or a
SystemExit of its own. `marking_signals` marks the errors that signal handlers raise, so that
`is_from_signal` can tell the two apart.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bsbpool.forks import in_children


class Terminated(SystemExit):
    """The process was told to end with SIGTERM, while it executed a pool.

    Where nobody catches it, the process ends with the exit code 143, which stands for SIGTERM.
    """


@contextmanager
def raising_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the main thread, so that a run can end on all ranks.

    Its default is to end the process on the spot; who has a handler of their own keeps it.
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


def _terminate(number: int, frame: Any) -> None:
    raise Terminated(128 + number)


def _restore_default() -> None:
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def is_from_signal(error: BaseException) -> bool:
    """Whether the handler of a signal raised an error, in the main thread.

    Outside of `marking_signals` there are no marks, and each KeyboardInterrupt counts as Ctrl-C.
    """
    if isinstance(error, Terminated) or _MARK in _attributes(error):
        return True
    return (
        isinstance(error, KeyboardInterrupt)
        and not _marks.are_made
        and threading.current_thread() is threading.main_thread()
    )


@contextmanager
def marking_signals() -> Iterator[None]:
    """Mark the errors that handlers of SIGINT and SIGTERM raise, for `is_from_signal`."""
    if _marks.are_made or threading.current_thread() is not threading.main_thread():
        yield
        return
    _marks.are_made = True
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        # Handlers of this module need no mark: they raise Terminated.
        if callable(handler) and getattr(handler, "__module__", None) != __name__:
            _noticing[number] = handler, _marking(handler)
            signal.signal(number, _noticing[number][1])
    try:
        yield
    finally:
        for known, (handler, marking) in _noticing.items():
            if signal.getsignal(known) is marking:  # else the program has set another one
                signal.signal(known, handler)
        _noticing.clear()
        _marks.are_made = False


def _marking(handler: Handler) -> Handler:
    def handle(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            _attributes(error)[_MARK] = True
            raise

    return handle


def _attributes(error: BaseException) -> dict[str, Any]:
    attributes: dict[str, Any] = object.__getattribute__(error, "__dict__")  # not the class's own
    return attributes


class _Marks:
    """Whether errors of signals are marked, also where the program ignores these signals."""

    are_made = False


Handler = Callable[[int, Any], Any]
_marks = _Marks()
_MARK = "_bsbpool_from_signal"
_noticing: dict[int, tuple[Handler, Handler]] = {}
"""By signal: the handler of the program, and the one that is set in its place."""
