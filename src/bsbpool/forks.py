"""Child processes forked by a process that uses pools.

Jobs, callbacks or the program itself may fork. A forked child is not a rank, and the threads of its
parent do not run in it. It must end on SIGTERM like any other process, and must not send messages
in the name of its parent. Children that run another program (`subprocess`, or multiprocessing with
the spawn method) are not affected.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from bsbpool._typing import NoReturn

_actions: list[Callable[[], object]] = []
_preparations: list[Callable[[], object]] = []
_thread = threading.local()


def in_children(action: Callable[[], object]) -> None:
    """Call a function in each child that this process forks from now on.

    Registering the same function again has no effect.
    """
    if action in _actions:
        return
    if not _actions:
        os.register_at_fork(
            before=_before_fork, after_in_parent=_release_sigterm, after_in_child=_after_fork
        )
    _actions.append(action)


def before_forks(action: Callable[[], object]) -> None:
    """Call a function before each fork of a process that uses pools.

    Used to import modules that are otherwise imported on first use: if another thread holds the
    import lock of a module during the fork, the child can never import that module.
    """
    _preparations.append(action)


def _before_fork() -> None:
    import traceback  # noqa: F401 - for `end_if_child_of`; see `before_forks`

    for action in _preparations:
        action()
    _hold_sigterm()


def _hold_sigterm() -> None:
    """Block SIGTERM until the child can handle it.

    Python drops the signals that are pending in a new child.
    """
    _thread.holds = signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _release_sigterm() -> None:
    if getattr(_thread, "holds", False):
        _thread.holds = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _after_fork() -> None:
    try:
        for action in _actions:
            action()
    finally:
        _release_sigterm()


def end_if_child_of(process: int, error: BaseException) -> None:
    """End the process after a job or call raised `error`, if it is a forked child of `process`.

    Otherwise the child would return into the main loop of its parent and send replies as that rank.
    """
    if os.getpid() == process:
        return
    if isinstance(error, SystemExit):
        end_child(error.code)
    import traceback

    with suppress(Exception):  # there may be no stderr
        traceback.print_exception(error)
    end_child(1)


def end_child(code: object) -> NoReturn:
    """End a forked child without finalizing MPI, which belongs to its parent."""
    number = code if isinstance(code, int) else int(code is not None)
    with suppress(Exception):
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(number & 0xFF)
