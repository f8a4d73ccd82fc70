"""Signals by which a batch system says that a run must end.

SIGTERM is handled while a pool executes; at other times it ends the process at once, as usual.
SIGUSR1 and SIGUSR2 stay handled after the first such pool, because they would end the process
between two pools. A pool that executes after a signal leaves when the same grace period is over.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bsbpool._typing import Any
from bsbpool.process import in_children
from bsbpool.state_dump import is_chosen, is_free, release_default

Leave = Callable[[str, float], object]
"""Takes the name of a signal, and when it arrived, as `time.monotonic` returns it."""


class _State:
    """The runs that leave when a signal arrives.

    Attributes
    ----------
    runs : list of callable
        Each is called when a signal arrives.
    received : tuple or None
        The name of the last signal, and when it arrived.
    handled : list of Signals
        The signals that are handled until the process ends.
    """

    def __init__(self) -> None:
        self.runs: list[Leave] = []
        self.received: tuple[str, float] | None = None
        self.handled: list[signal.Signals] = []


_state = _State()


def forget() -> None:
    """Forget that a signal arrived: pools that follow run to their end."""
    _state.received = None


def _receive(number: int, frame: Any) -> None:
    _state.received = signal.Signals(number).name, time.monotonic()
    for leave in _state.runs:
        leave(*_state.received)


@contextmanager
def leaving_on_signals(leave: Leave) -> Iterator[None]:
    """Call ``leave(name, at)`` for SIGTERM, SIGUSR1 and SIGUSR2 in this context.

    Signals that the program, the MPI library or the setting BSBPOOL_DUMP_SIGNAL handles are left
    alone. In forked children they have their default actions. In other threads than the main thread
    nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _install()
    takes_sigterm = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    _state.runs.append(leave)
    try:
        if takes_sigterm:
            signal.signal(signal.SIGTERM, _receive)
        if _state.received is not None:
            leave(*_state.received)
        yield
    finally:
        if takes_sigterm:
            _restore(signal.SIGTERM)
        _state.runs.remove(leave)


def _install() -> None:
    in_children(_restore_all)
    release_default()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        if is_free(number) and not is_chosen(number):
            signal.signal(number, _receive)
            _state.handled.append(number)


def _restore_all() -> None:
    for number in (signal.SIGTERM, *_state.handled):
        _restore(number)


def _restore(number: signal.Signals) -> None:
    if signal.getsignal(number) is _receive:  # else the program has set a handler
        signal.signal(number, signal.SIG_DFL)
