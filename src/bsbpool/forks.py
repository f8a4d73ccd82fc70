"""Children that are forked from a process with pools, by jobs, callbacks or the program itself.

A forked child is not a rank, and the threads of its parent do not run in it. It must end on SIGTERM
like any other process, and must not send messages as its parent. Children that run another program
(`subprocess`, or multiprocessing with spawn) are not affected.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

_actions: list[Callable[[], object]] = []
_preparations: list[Callable[[], object]] = []
_thread = threading.local()


def in_children(action: Callable[[], object]) -> None:
    """Call an action, once, in each child that this process forks from now on."""
    if action in _actions:
        return
    if not _actions:
        os.register_at_fork(
            before=_prepare, after_in_parent=_release_sigterm, after_in_child=_act
        )
    _actions.append(action)


def before_forks(action: Callable[[], object]) -> None:
    """Call an action before each fork of a process that uses pools.

    For modules that are imported when they are needed: a child forked while another thread of its
    parent imports one could never import it.
    """
    _preparations.append(action)


def _prepare() -> None:
    for action in _preparations:
        action()
    _hold_sigterm()


def _hold_sigterm() -> None:
    """Block SIGTERM until the child can end by it: Python drops what is pending in a new child."""
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
    """End this process if it is a forked child of `process`, in which a job or call raised.

    Otherwise the child would return into the loop of its parent, and reply as that rank.
    """
    if os.getpid() == process:
        return
    if isinstance(error, SystemExit):
        end_child(error.code)
    with suppress(Exception):  # there may be no stderr
        traceback.print_exception(error)
    end_child(1)


def end_child(code: object) -> NoReturn:
    """End a forked child without MPI, which belongs to its parent."""
    number = code if isinstance(code, int) else int(code is not None)
    with suppress(Exception):
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(number & 0xFF)
