"""How maps and initializers of a script are pickled: with references to the script's globals."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from bsbpool.futures.chunks import run_chunk
from bsbpool.futures.initializer import PackedInitializer
from bsbpool.futures.packing import MapPacking
from bsbpool.futures.plain_values import pack
from bsbpool.script.calls import Snapshot
from bsbpool.script.namespace import namespace
from bsbpool.script.tracking import script_globals
from bsbpool.serialization import Parcel, out_of_band


class ScriptMapPacking(MapPacking):
    """Pickles a map whose calls see the globals as they were when the map was started.

    Parameters
    ----------
    f : callable
        The function that is called with each item.
    items : list
        The items that have been read.
    """

    def __init__(self, f: Callable[..., Any], items: list[Any]) -> None:
        script = script_globals()
        self._bind(script.snapshot_for(f, items))
        payload, buffers = self._snapshot.dumps(f)
        kept = script.callee(f).kept
        self.function = payload, out_of_band(buffers), kept

    def _bind(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        script = script_globals()
        # Without globals, workers may keep the function for further chunks.
        self.call = script.call(script.callee(run_chunk), snapshot) if snapshot.units else run_chunk

    def prepare(self, items: list[Any]) -> None:
        """Add the globals of items that were read after the map was started."""
        script = script_globals()
        names = script.names_in(items)
        if not all(map(self._snapshot.has, names)):
            self._bind(self._snapshot.extended(script.snapshot(names)))

    def pack(self, item: Any) -> Any:
        """Return the form in which an item is sent."""
        return pack(item, self._snapshot.dumps)


class ScriptInitializer(PackedInitializer):
    """An initializer that sees the globals of the script.

    Parameters
    ----------
    initializer : callable
        The function to call.
    initargs : tuple
        Its arguments.
    """

    def _dumps(self, initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> Parcel:
        self.snapshot = script_globals().snapshot_for(initializer, initargs)
        self.numbers = [unit.number for unit in self.snapshot.units]
        return self.snapshot.dumps((initializer, initargs))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "snapshot"}

    def run(self) -> None:
        """Put the globals in place and call the initializer."""
        try:
            namespace.enter([namespace.units[number] for number in self.numbers])
            initializer, initargs = pickle.loads(self.function[0], buffers=self.function[1])
            initializer(*initargs)
        except BaseException as error:
            namespace.explain(error)
            raise
