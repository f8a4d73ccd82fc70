"""The backend of a script that runs on this rank only: the workers run its calls.

A call sees the globals of the script and `sys.path` as they were when it was submitted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool.futures.backend import OpenMap
from bsbpool.futures.backend_ranks import RanksBackend
from bsbpool.futures.calls import Call
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.main_program import SearchPath
from bsbpool.futures.packing import MapPacking
from bsbpool.futures.script_packing import ScriptInitializer, ScriptMapPacking
from bsbpool.futures.script_run import ScriptMainRun
from bsbpool.run_context import RunContext
from bsbpool.script.calls import ScriptCall, Snapshot
from bsbpool.script.tracking import script_globals
from bsbpool.serialization import Parcel, dumps


class ScriptBackend(RanksBackend):
    """Runs calls of a script on ranks that do not run the script.

    Parameters
    ----------
    path : SearchPath
        The search path that the workers started with.
    *args : object
        Those of `RanksBackend`.

    Attributes
    ----------
    initializer_snapshot : Snapshot or None
        The globals that the initializer uses.
    """

    initializer_snapshot: Snapshot | None = None

    def __init__(self, path: SearchPath, *args: Any) -> None:
        self._path = path
        path.update()
        super().__init__(*args)

    def _pack_initializer(
        self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
    ) -> Parcel | None:
        if initializer is None:
            return None
        packed = ScriptInitializer(initializer, initargs)
        self.initializer_snapshot = packed.snapshot
        return dumps(packed)

    def _make_run(self, context: RunContext, channel: Channel) -> ScriptMainRun:
        return ScriptMainRun(context, channel, self)

    def submit(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
    ) -> None:
        """Accept a call without options."""
        f = script_globals().bind(f, args, kwargs)
        if sys.path != self._path.seen:
            self._send_path()
        super().submit(future, f, args, kwargs)

    def queue(self, call: Call, of_map: OpenMap | None = None) -> None:
        """Accept a call; a call of a map is bound to the globals already."""
        if of_map is None and not isinstance(call.f, ScriptCall):
            call = call._replace(f=script_globals().bind(call.f, call.args, call.kwargs))
        if sys.path != self._path.seen:
            self._send_path()
        super().queue(call, of_map)

    def map_packing(self, f: Callable[..., Any], items: list[Any]) -> MapPacking:
        """Return how a map of `f` is pickled; `items` are those that have been read already."""
        return ScriptMapPacking(f, items)

    def _send_path(self) -> None:
        with self.lock:
            self._path.update()
            self._run_of_pool.send_prelude_again()

    def _changed_path(self) -> list[str] | None:
        return self._path.changed_folders()
