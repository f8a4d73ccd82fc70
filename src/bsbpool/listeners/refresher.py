"""A thread that calls a function regularly, to show the progress while jobs run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress


class Refresher:
    """Calls functions in a thread until it is stopped.

    A function that raises, for example since a terminal was closed, is not called again: a display
    must not end a run.

    Parameters
    ----------
    function : callable
        Called regularly; what it returns, if it is a number, is the next interval.
    seconds : float
        The first interval.
    urgent : callable
        Called soon after each call of `wake`.
    """

    def __init__(
        self,
        function: Callable[[], float | None],
        seconds: float,
        urgent: Callable[[], object],
    ) -> None:
        self._function = function
        self._seconds = seconds
        self._urgent = urgent
        self._stopped = False
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stopped = False
        self._wakeup.clear()
        self._thread = threading.Thread(target=self._run, name="bsbpool-progress", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Let the thread call the urgent function; from any thread, without waiting for it."""
        self._wakeup.set()

    def stop(self) -> None:
        """End the thread, and wait for the function if it is being called."""
        self._stopped = True
        self._wakeup.set()
        thread, self._thread = self._thread, None
        # In a forked child the thread does not exist.
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join()

    def _run(self) -> None:
        due = time.monotonic() + self._seconds
        with suppress(Exception):
            while True:
                if self._wakeup.wait(max(0.0, due - time.monotonic())):
                    self._wakeup.clear()
                    if self._stopped:  # after `clear`, so that a `stop` in between is not missed
                        return
                    self._urgent()
                if time.monotonic() >= due:
                    seconds = self._function() or self._seconds
                    due = time.monotonic() + seconds
