"""Pieces of a `map`, on the worker: some items, one call for each, one answer for all."""

from __future__ import annotations

import itertools
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from bsbpool.interrupts import Terminated
from bsbpool.serialization import Parcel, dump_error, dumps, loads

Buffers = list[pickle.PickleBuffer]
MOST_FUNCTIONS = 64


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
        if not kept:
            function: Callable[..., Any] = loads(payload, buffers)
            return function
        key = bytes(payload)
        if key not in self.functions:
            self.functions[key] = loads(payload, buffers)
            if len(self.functions) > MOST_FUNCTIONS:
                self.functions.popitem(last=False)
        return self.functions[key]


here = Here()


def run_chunk(
    function: tuple[bytes, Buffers, bool], payload: bytes, buffers: Buffers, star: bool
) -> tuple[Any, Any, float, int]:
    """Call a function with each of some items, until it raises.

    Returns
    -------
    results : tuple
        Pickle and buffers of the list of what it returned.
    error : tuple or None
        The same of what it raised, as of `dump_error`.
    seconds : float
        How long that took.
    size : int
        Bytes of the results.
    """
    start = time.perf_counter()
    results: list[Any] = []
    error = None
    f: Any = None
    try:
        f = here.function(*function)
        items = loads(payload, buffers)
        # In C; what came before an error stays in the list.
        results.extend(itertools.starmap(f, items) if star else map(f, items))
    except BaseException as raised:
        error = _packed_error(raised, f)
    packed, unpicklable = _pack(results)
    error = error if unpicklable is None else _packed_error(unpicklable, f)
    size = len(packed[0]) + sum(buffer.nbytes for buffer in packed[1])
    return _travelling(packed), error, time.perf_counter() - start, size


def _pack(results: list[Any]) -> tuple[Parcel, Exception | None]:
    """Pickle as many of the results as can be, and say why not all."""
    try:
        return dumps(results), None
    except Exception:
        for n, result in enumerate(results):
            try:
                dumps(result)
            except Exception as error:
                error.add_note(f"The result, a {type(result)}, cannot be pickled.")
                return dumps(results[:n]), error
        raise


def _packed_error(error: BaseException, f: Any) -> Any:
    if isinstance(error, Terminated):
        raise error  # it is not the call that failed
    return _travelling(dump_error(error, here.rank, getattr(f, "__qualname__", None) or repr(f)))


def _travelling(parcel: Parcel) -> tuple[bytes, Buffers]:
    payload, buffers = parcel
    return payload, [pickle.PickleBuffer(buffer) for buffer in buffers]
