"""How the function, the items and the results of a map are pickled.

Items and results of a chunk are sent together but pickled one by one, so that calls in the same
chunk share no objects. Immutable values of builtin types need no pickle of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from bsbpool.broadcasting import Broadcast, make_data
from bsbpool.dataflow import AS_BUFFERS
from bsbpool.execution.functions import is_kept
from bsbpool.execution.large_functions import LARGE
from bsbpool.futures.chunks import run_chunk
from bsbpool.futures.plain_values import PLAIN_TYPES, pack
from bsbpool.serialization import dumps_function, out_of_band


class MapPacking:
    """How the function and the items of a map are pickled.

    Parameters
    ----------
    f : callable
        The function that is called with each item.

    Attributes
    ----------
    function : tuple
        The pickle of the function, its buffers, and whether workers keep the unpickled function.
        Large buffers are broadcast.
    call : callable
        The function that is queued for each chunk: `run_chunk`.
    """

    function: tuple[bytes, Any, bool]
    call: Callable[..., Any]

    def __init__(self, f: Callable[..., Any]) -> None:
        payload, buffers = dumps_function(f)
        self.function = payload, self._sendable(buffers), is_kept(f)
        self.call = run_chunk

    def _sendable(self, buffers: list[memoryview]) -> Any:
        if sum(buffer.nbytes for buffer in buffers) < LARGE:
            return out_of_band(buffers)
        data = make_data(AS_BUFFERS)
        data.fill(b"", buffers)
        return Broadcast(data.id, data)

    @property
    def size(self) -> int:
        """The bytes of the function that are sent with each chunk."""
        payload, buffers, _ = self.function
        if isinstance(buffers, Broadcast):
            return len(payload)
        size: int = sum(buffer.raw().nbytes for buffer in buffers)
        return len(payload) + size

    def prepare(self, items: list[Any]) -> None:
        """Prepare for items that were read after the map was started."""

    def pack(self, item: Any) -> Any:
        """Return the form in which an item is sent."""
        return pack(item)


def are_plain(values: list[Any]) -> bool:
    """Whether all values are sent as they are.

    Fast for many values; False for some lists of which all values are plain.
    """
    kinds = set(map(type, values))
    if kinds == {tuple}:
        kinds = set(map(type, itertools.chain.from_iterable(values)))
    return kinds <= PLAIN_TYPES
