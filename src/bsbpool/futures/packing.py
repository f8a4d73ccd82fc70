"""How the function, the items and the results of a map are pickled.

Items and results of a chunk are sent together but pickled one by one, so that calls in the same
chunk share no objects. Immutable values of builtin types need no pickle of their own.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from typing import Any

from bsbpool.execution.functions import is_kept
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
    call : callable
        The function that is queued for each chunk: `run_chunk`.
    """

    function: tuple[bytes, list[pickle.PickleBuffer], bool]
    call: Callable[..., Any]

    def __init__(self, f: Callable[..., Any]) -> None:
        payload, buffers = dumps_function(f)
        self.function = payload, out_of_band(buffers), is_kept(f)
        self.call = run_chunk

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
