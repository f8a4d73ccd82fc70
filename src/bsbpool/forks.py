"""Children that are forked from a process with pools, by jobs, callbacks or the program itself.

They are no ranks and have none of the threads of their parent, so they must end on SIGTERM as other
processes do, and must not send messages in the name of their parent. Whatever runs another program
(`subprocess`, or multiprocessing with spawn) starts afresh and needs nothing of this.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn

_actions: list[Callable[[], object]] = []
_thread = threading.local()


def in_children(action: Callable[[], object]) -> None:
    """Have something called in each process that this one forks from now on; once each."""
    if action in _actions:
        return
    if not _actions:
        os.register_at_fork(
            before=_hold_sigterm, after_in_parent=_release_sigterm, after_in_child=_act
        )
    _actions.append(action)


def _hold_sigterm() -> None:
    """Block SIGTERM until the child can end by it: Python forgets signals that come meanwhile."""
    _thread.holds = signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _release_sigterm() -> None:
    if getattr(_thread, "holds", False):
        _thread.holds = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _act() -> None:
    try:
        for action in _actions:
            action()
    finally:
        _release_sigterm()


def end_if_child_of(process: int, error: BaseException) -> None:
    """End this process with an error, if another one was to run the code that raised it.

    A job, in a child that it forked, would otherwise return into the loop of its parent, and reply
    for it.
    """
    if os.getpid() == process:
        return
    if isinstance(error, SystemExit):
        end_child(error.code)
    traceback.print_exception(error)
    end_child(1)


def end_child(code: object) -> NoReturn:
    """End a forked child without MPI, which belongs to its parent."""
    number = code if isinstance(code, int) else code is not None
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # there is none, or it is closed
            continue
    os._exit(number & 0xFF)
