"""Pieces of a `map`, on the worker: some items, one call for each, one answer for all.

Items and results travel together but are pickled one by one, each result right after its call, so
that nothing is shared by calls that happen to be in one chunk. What nobody can change needs no
pickle of its own.
"""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from bsbpool.execution.functions import is_kept
from bsbpool.forks import end_if_child_of
from bsbpool.interrupts import Terminated
from bsbpool.naming import explain, name_of
from bsbpool.remote_errors import dump_error
from bsbpool.serialization import Parcel, dumps, dumps_function, loads, out_of_band

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
    process : int
        The process that began to run calls, and not a child that a call forked.
    functions : dict of bytes to callable
        Functions of maps, by their pickle.
    explain : callable
        Called with each error of a call, before it is pickled.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.process = os.getpid()
        self.functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
        self.explain: Callable[[BaseException], object] = lambda error: None

    def function(self, payload: bytes, buffers: Buffers) -> Callable[..., Any]:
        """Unpickle a function that is kept; one with buffers is unpickled each time."""
        if buffers:
            function: Callable[..., Any] = loads(payload, buffers)
            return function
        key = bytes(payload)
        if key not in self.functions:
            self.functions[key] = loads(payload)
            if len(self.functions) > MOST_FUNCTIONS:
                self.functions.popitem(last=False)
        return self.functions[key]


def copies(n: int, payload: bytes, buffers: Buffers) -> Iterator[Callable[..., Any]]:
    """Yield a callable `n` times, each with state of its own; read-only arrays are shared."""
    f = loads(payload, buffers if n == 1 else list(map(_own, buffers)))
    variables = plain_variables(f)
    yield f
    for n_left in range(n - 2, -1, -1):
        if variables is None:
            f = loads(payload, list(map(_own, buffers)) if n_left else buffers)
        else:
            for cell, value in variables:
                cell.cell_contents = value
        yield f


def _own(buffer: Any) -> Any:
    return buffer if memoryview(buffer).readonly else bytearray(buffer)


def plain_variables(f: Any) -> list[tuple[types.CellType, Any]] | None:
    """Return the closure variables of a callable that carries plain values only, and their values.

    A call can change nothing else of such a callable. None for all other callables, which must be
    unpickled for each call.
    """
    if isinstance(f, functools.partial):
        fixed = is_kept(f.func) and not f.__dict__
        return [] if fixed and all(map(is_plain, (*f.args, *f.keywords.values()))) else None
    if not isinstance(f, types.FunctionType) or f.__dict__ or f.__kwdefaults__:
        return None
    try:
        variables = [(cell, cell.cell_contents) for cell in f.__closure__ or ()]
    except ValueError:  # a cell is empty
        return None
    values = (*(value for _, value in variables), *(f.__defaults__ or ()))
    return variables if all(map(is_plain, values)) else None


here = Here()


def is_plain(value: Any) -> bool:
    """Whether a value is plain, or a tuple of plain values, so that it cannot change."""
    return type(value) in PLAIN or (type(value) is tuple and PLAIN.issuperset(map(type, value)))


def packed(value: Any, dumps: Callable[[Any], Parcel] = dumps) -> Any:
    """Return what travels for a value: itself if it is plain, else a list of pickle and buffers."""
    if is_plain(value):
        return value
    payload, buffers = dumps(value)
    return [payload, *out_of_band(buffers)]


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
        self.function = payload, out_of_band(buffers), is_kept(f)
        self.call: Callable[..., Any] = run_chunk

    def look_at(self, items: list[Any]) -> None:
        """Prepare for items that were read after the map was called."""

    def packed(self, item: Any) -> Any:
        """Return what travels for an item."""
        return packed(item)


def are_plain(values: list[Any]) -> bool:
    """Whether all of them travel as they are; False may be call options too often. Quick for many."""
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
        items = loads(payload, buffers)
        pickled, parts, kept = function
        anew = None if kept else copies(len(items), pickled, parts)
        if kept:
            f = here.function(pickled, parts)
        for item in items:
            if anew is not None:
                f = next(anew)
            given = unpacked(item) if type(item) is list else item
            value = f(*given) if star else f(given)
            results.append(value if type(value) in PLAIN else _pack(value, len(items) == 1, f))
    except BaseException as raised:
        error = _packed_error(raised, f)
    parcel = dumps(results)
    size = _size(payload, buffers) + _size(*parcel)
    return _travelling(parcel), error, time.perf_counter() - start, size


def _pack(result: Any, alone: bool, f: Any) -> Any:
    try:
        packet = packed(result)
    except BaseException as error:
        explain(error, f"The return value of {name_of(f)}() cannot be pickled")
        raise
    if type(packet) is list and not alone:
        # The next call may change what these are of.
        packet[1:] = [pickle.PickleBuffer(bytearray(buffer)) for buffer in packet[1:]]
    return packet


def _size(payload: Any, buffers: Any) -> int:
    return len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)


def _packed_error(error: BaseException, f: Any) -> Any:
    end_if_child_of(here.process, error)
    if isinstance(error, Terminated):
        raise error  # it is not the call that failed
    here.explain(error)
    return _travelling(dump_error(error, here.rank, name_of(f)))


def _travelling(parcel: Parcel) -> tuple[bytes, Buffers]:
    payload, buffers = parcel
    return payload, out_of_band(buffers)
