"""A thread that calls a function regularly, to show the progress while jobs run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class Refresher:
    """Calls a function in a thread until it is stopped.

    A function that raises, for example since a terminal was closed, is not called again: a display
    must not end a run.

    Parameters
    ----------
    function : callable
        The function; what it returns, if it is a number, is the next interval.
    seconds : float
        The first interval.
    """

    def __init__(self, function: Callable[[], float | None], seconds: float) -> None:
        self._function = function
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="bsbpool-progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for the function if it is being called."""
        self._stop.set()
        thread, self._thread = self._thread, None
        # In a forked child the thread does not exist.
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join()

    def _run(self) -> None:
        seconds = self._seconds
        with suppress(Exception):
            while not self._stop.wait(seconds):
                seconds = self._function() or seconds
