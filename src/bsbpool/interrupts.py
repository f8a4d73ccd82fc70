"""Being told to end, by the batch system or by the user."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bsbpool.forks import in_children


class Terminated(SystemExit):
    """The process was told to end with SIGTERM, while it executed a pool.

    Where nobody catches it, the process ends with the exit code 143, which stands for SIGTERM.
    """


@contextmanager
def heeding_sigterm() -> Iterator[None]:
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
