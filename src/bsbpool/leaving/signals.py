"""Signals by which a batch system says that a run must end.

SIGTERM is handled while a pool executes; at other times it ends the process at once, as usual.
SIGUSR1 and SIGUSR2 stay handled when the first such pool has ended, because they would end the
process between two pools as well; the next pool then leaves at its begin.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bsbpool._typing import Any
from bsbpool.process import in_children
from bsbpool.state_dump import is_free, release_default

Leave = Callable[[str], object]


class _State:
    """The runs that leave when a signal arrives.

    Attributes
    ----------
    runs : list of callable
        Each is called with the name of a signal.
    received : str
        The name of a signal that arrived between two runs; empty if there is none.
    handled : list of Signals
        The signals that are handled until the process ends.
    """

    def __init__(self) -> None:
        self.runs: list[Leave] = []
        self.received = ""
        self.handled: list[signal.Signals] = []


_state = _State()


def _receive(number: int, frame: Any) -> None:
    name = signal.Signals(number).name
    if not _state.runs:
        _state.received = name
    for leave in _state.runs:
        leave(name)


@contextmanager
def leaving_on_signals(leave: Leave) -> Iterator[None]:
    """Call ``leave(name)`` for SIGTERM, SIGUSR1 and SIGUSR2 in this context, in the main thread.

    Signals that the program, the MPI library or the setting BSBPOOL_DUMP_SIGNAL handles are left
    alone. In forked children they have their default actions.
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
        if _state.received:
            leave(_state.received)
        yield
    finally:
        _state.runs.remove(leave)
        if takes_sigterm:
            _restore(signal.SIGTERM)


def _install() -> None:
    in_children(_restore_all)
    release_default()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        if is_free(number):
            signal.signal(number, _receive)
            _state.handled.append(number)


def _restore_all() -> None:
    for number in (signal.SIGTERM, *_state.handled):
        _restore(number)


def _restore(number: signal.Signals) -> None:
    if signal.getsignal(number) is _receive:  # else the program has set a handler
        signal.signal(number, signal.SIG_DFL)

