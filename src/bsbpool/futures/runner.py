"""The backend of executors whose workers serve the program but do not run it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bsbpool.futures.backend import Call
from bsbpool.futures.backend_ranks import RanksBackend
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.program import SearchPath


class RunnerBackend(RanksBackend):
    """Runs calls on other ranks; a call sees `sys.path` as it was when the call was submitted.

    Parameters
    ----------
    path : SearchPath
        Made when the workers started.
    *args : object
        As of `RanksBackend`.
    """

    def __init__(self, path: SearchPath, *args: Any) -> None:
        self._path = path
        path.look()
        super().__init__(*args)

    def submit(
        self, future: PoolFuture, f: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Take a call without options."""
        if sys.path != self._path.seen:
            self._send_path()
        super().submit(future, f, args, kwargs)

    def queue(self, call: Call, stream: Any = None) -> None:
        """Take a call."""
        if sys.path != self._path.seen:
            self._send_path()
        super().queue(call, stream)

    def _send_path(self) -> None:
        with self._lock:
            self._path.look()
            run: Any = self._pool.run_context.run
            run.send_prelude_again()

    def _new_path(self) -> list[str] | None:
        return self._path.changed_folders()
