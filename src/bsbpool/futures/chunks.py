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

from bsbpool.interrupts import Terminated
from bsbpool.remote_errors import dump_error
from bsbpool.serialization import Parcel, dumps, loads

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
    """

    def __init__(self) -> None:
        self.rank = 0
        self.functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()

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


def packed(value: Any) -> Any:
    """Return what travels for a value: itself if it is plain, else a list of pickle and buffers."""
    if type(value) in PLAIN or (type(value) is tuple and PLAIN.issuperset(map(type, value))):
        return value
    payload, buffers = dumps(value)
    return [payload, *map(pickle.PickleBuffer, buffers)]


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
    return _travelling(dump_error(error, here.rank, getattr(f, "__qualname__", None) or repr(f)))


def _travelling(parcel: Parcel) -> tuple[bytes, Buffers]:
    payload, buffers = parcel
    return payload, [pickle.PickleBuffer(buffer) for buffer in buffers]
