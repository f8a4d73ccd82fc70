"""A thread that runs jobs, so that listeners can be called meanwhile."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable

from bsbpool._typing import Any
from bsbpool.process import end_if_child_of


class JobThread:
    """A daemon thread that calls one function at a time."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._process = os.getpid()
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._value: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="bsbpool-serial", daemon=True).start()

    def start_call(self, call: Callable[[], Any]) -> None:
        """Begin a call, in a copy of the caller's context."""
        self._done.clear()
        self._calls.put((contextvars.copy_context(), call))

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the call; return whether it has ended."""
        return self._done.wait(seconds)

    def outcome(self) -> Any:
        """Return what the call returned, or raise its error."""
        error, self._error = self._error, None
        value, self._value = self._value, None
        if error is not None:
            raise error
        return value

    def stop(self) -> None:
        """End the thread after the present call."""
        self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            context, call = item
            try:
                self._value = context.run(call)
            except BaseException as error:
                end_if_child_of(self._process, error)
                self._error = error
            del context, call, item
            self._done.set()
