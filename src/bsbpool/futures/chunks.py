"""Pieces of a `map`, on the worker: some items, one call for each, one answer for all.

Items and results travel together but are pickled one by one, each result right after its call, so
that nothing is shared by calls that happen to be in one chunk. What nobody can change needs no
pickle of its own.
"""

from __future__ import annotations

import itertools
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from bsbpool.execution.functions import is_kept
from bsbpool.interrupts import Terminated
from bsbpool.serialization import Parcel, dump_error, dumps, dumps_function, loads

Buffers = list[pickle.PickleBuffer]
MOST_FUNCTIONS = 64
PLAIN = frozenset([type(None), bool, int, float, complex, str, bytes])
"""Types of which nobody can change anything."""


class Here:
    """What holds for this process.

    Attributes
    ----------
    rank : int
        Its number, for errors.
    functions : dict of bytes to callable
        Functions of maps, by their pickle.
    explain : callable
        Called with each error of a call, before it is pickled.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
        self.explain: Callable[[BaseException], object] = lambda error: None

    def function(self, payload: bytes, buffers: Buffers, kept: bool) -> Callable[..., Any]:
        """Unpickle a function, each time anew unless it is to be kept."""
        if not kept or buffers:  # the pickle alone does not tell which one it is
            function: Callable[..., Any] = loads(payload, buffers)
            return function
        key = bytes(payload)
        if key not in self.functions:
            self.functions[key] = loads(payload)
            if len(self.functions) > MOST_FUNCTIONS:
                self.functions.popitem(last=False)
        return self.functions[key]


here = Here()


def packed(value: Any, dumps: Callable[[Any], Parcel] = dumps) -> Any:
    """Return what travels for a value: itself if it is plain, else a list of pickle and buffers."""
    if type(value) in PLAIN or (type(value) is tuple and PLAIN.issuperset(map(type, value))):
        return value
    payload, buffers = dumps(value)
    return [payload, *map(pickle.PickleBuffer, buffers)]


class Packing:
    """How the function and the items of a map are pickled.

    Parameters
    ----------
    f : callable
        What is called with each item.

    Attributes
    ----------
    function : tuple
        The pickle of the function, its buffers, and whether workers keep what they unpickled.
    call : callable
        What is queued for a chunk: `run_chunk`.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        payload, buffers = dumps_function(f)
        self.function = payload, list(map(pickle.PickleBuffer, buffers)), is_kept(f)
        self.call: Callable[..., Any] = run_chunk

    def look_at(self, items: list[Any]) -> None:
        """Prepare for items that were read after the map was called."""

    def packed(self, item: Any) -> Any:
        """Return what travels for an item."""
        return packed(item)


def are_plain(values: list[Any]) -> bool:
    """Whether all of them travel as they are; False may be said too often. Quick for many."""
    kinds = set(map(type, values))
    if kinds == {tuple}:
        kinds = set(map(type, itertools.chain.from_iterable(values)))
    return kinds <= PLAIN


def unpacked(value: Any) -> Any:
    """Return the value for which something travelled."""
    return loads(value[0], value[1:]) if type(value) is list else value


def run_chunk(
    function: tuple[bytes, Buffers, bool], payload: bytes, buffers: Buffers, star: bool
) -> tuple[Any, Any, float, int]:
    """Call a function with each of some items, until it raises.

    Returns
    -------
    results : tuple
        Pickle and buffers of the list of what it returned, each as of `packed`.
    error : tuple or None
        The same of what it raised, as of `dump_error`.
    seconds : float
        How long that took.
    size : int
        Bytes of the items and the results.
    """
    start = time.perf_counter()
    results: list[Any] = []
    error = None
    f: Any = None
    try:
        f = here.function(*function)
        items = loads(payload, buffers)
        for item in items:
            given = unpacked(item) if type(item) is list else item
            value = f(*given) if star else f(given)
            results.append(value if type(value) in PLAIN else _pack(value, len(items) == 1))
    except BaseException as raised:
        error = _packed_error(raised, f)
    parcel = dumps(results)
    size = _size(payload, buffers) + _size(*parcel)
    return _travelling(parcel), error, time.perf_counter() - start, size


def _pack(result: Any, alone: bool) -> Any:
    try:
        packet = packed(result)
    except BaseException as error:
        error.add_note(f"The result, a {type(result)}, cannot be pickled.")
        raise
    if type(packet) is list and not alone:
        # The next call may change what these are of.
        packet[1:] = [pickle.PickleBuffer(bytearray(buffer)) for buffer in packet[1:]]
    return packet


def _size(payload: Any, buffers: Any) -> int:
    return len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)


def _packed_error(error: BaseException, f: Any) -> Any:
    if isinstance(error, Terminated):
        raise error  # it is not the call that failed
    here.explain(error)
    return _travelling(dump_error(error, here.rank, getattr(f, "__qualname__", None) or repr(f)))


def _travelling(parcel: Parcel) -> tuple[bytes, Buffers]:
    payload, buffers = parcel
    return payload, [pickle.PickleBuffer(buffer) for buffer in buffers]
