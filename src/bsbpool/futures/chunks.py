"""Chunks of a map on the worker: one call for each of several items, one reply for all.

Each result is pickled right after its call, so that later calls of the chunk cannot change it.
"""

from __future__ import annotations

import functools
import os
import pickle
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from bsbpool.execution.functions import is_kept
from bsbpool.futures.plain_values import PLAIN_TYPES, is_plain, pack, unpack
from bsbpool.naming import explain, name_of
from bsbpool.process import Terminated, end_if_child_of
from bsbpool.remote_errors import dump_error
from bsbpool.serialization import Parcel, dumps, loads, out_of_band

Buffers = list[pickle.PickleBuffer]
MAX_FUNCTIONS = 64
"""The number of unpickled functions that a worker keeps for further chunks."""


class WorkerProcess:
    """State of this process as a worker.

    Attributes
    ----------
    rank : int
        Its rank, for errors.
    pid : int
        The id of the process that runs the calls; children that calls fork have another one.
    functions : dict of bytes to callable
        Functions of maps, by their pickle.
    explain : callable
        Called with each error of a call before the error is pickled.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.pid = os.getpid()
        self.functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
        self.explain: Callable[[BaseException], object] = lambda error: None

    def function(self, payload: bytes, buffers: Buffers) -> Callable[..., Any]:
        """Return the unpickled function; one without buffers is kept for further chunks."""
        if buffers:
            function: Callable[..., Any] = loads(payload, buffers)
            return function
        key = bytes(payload)
        if key not in self.functions:
            self.functions[key] = loads(payload)
            if len(self.functions) > MAX_FUNCTIONS:
                self.functions.popitem(last=False)
        return self.functions[key]


worker_process = WorkerProcess()


def run_chunk(
    function: tuple[bytes, Any, bool],
    payload: bytes,
    buffers: Buffers,
    star: bool,
    raises: bool = False,
) -> tuple[Any, Any, float, int]:
    """Call a function with each item of a chunk, until a call raises.

    Parameters
    ----------
    function : tuple
        See `MapPacking.function`.
    payload, buffers : bytes, list of PickleBuffer
        The pickle of the list of packed items.
    star : bool
        Whether each item is a tuple of arguments.
    raises : bool
        Whether to raise an error of a call, so that the chunk can run again.

    Returns
    -------
    results : tuple
        Pickle and buffers of the list of results, each as `pack` returns it.
    error : tuple or None
        Pickle and buffers of the error, as `dump_error` returns them.
    seconds : float
        The run time of the chunk.
    size : int
        The number of bytes of the items and the results.
    """
    start = time.perf_counter()
    results: list[Any] = []
    error = None
    f: Any = None
    try:
        items = loads(payload, buffers)
        pickled, parts, kept = function
        copies = None if kept else independent_copies(len(items), pickled, parts)
        if kept:
            f = worker_process.function(pickled, parts() if callable(parts) else parts)
        for item in items:
            if copies is not None:
                f = next(copies)
            argument = unpack(item) if type(item) is list else item
            value = f(*argument) if star else f(argument)
            results.append(
                value if type(value) in PLAIN_TYPES else _pack_result(value, len(items) == 1, f)
            )
    except BaseException as raised:
        if raises:
            worker_process.explain(raised)
            raise
        error = _pack_error(raised, f)
    parcel = dumps(results)
    size = _size(payload, buffers) + _size(*parcel)
    return _sendable(parcel), error, time.perf_counter() - start, size


def independent_copies(
    n: int, payload: bytes, buffers: Buffers | Callable[[], Buffers]
) -> Iterator[Callable[..., Any]]:
    """Yield a callable `n` times, each time with its initial state; read-only arrays are shared."""
    f = loads(payload, _copies(buffers, n == 1))
    variables = plain_variables(f)
    yield f
    for n_left in range(n - 2, -1, -1):
        if variables is None:
            f = loads(payload, _copies(buffers, n_left == 0))
        else:
            for cell, value in variables:
                cell.cell_contents = value
        yield f


def _copies(buffers: Buffers | Callable[[], Buffers], is_last: bool) -> Buffers:
    if callable(buffers):  # they were broadcast
        return buffers()
    return buffers if is_last else list(map(_copy_if_writable, buffers))


def _copy_if_writable(buffer: Any) -> Any:
    return buffer if memoryview(buffer).readonly else bytearray(buffer)


def plain_variables(f: Any) -> list[tuple[types.CellType, Any]] | None:
    """Return the closure variables of a callable and their values, if all its state is plain.

    A call can change nothing else of such a callable. Returns None for all other callables, which
    must be unpickled for each call.
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


def _pack_result(result: Any, alone: bool, f: Any) -> Any:
    try:
        packed = pack(result)
    except BaseException as error:
        explain(error, f"The return value of {name_of(f)}() cannot be pickled")
        raise
    if type(packed) is list and not alone:
        # Copy the buffers: the next call may write to the arrays that own them.
        packed[1:] = [pickle.PickleBuffer(bytearray(buffer)) for buffer in packed[1:]]
    return packed


def _pack_error(error: BaseException, f: Any) -> Any:
    end_if_child_of(worker_process.pid, error)
    if isinstance(error, Terminated):
        raise error  # the call did not fail, the process must end
    worker_process.explain(error)
    return _sendable(dump_error(error, worker_process.rank, name_of(f)))


def _size(payload: Any, buffers: Any) -> int:
    return len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)


def _sendable(parcel: Parcel) -> tuple[bytes, Buffers]:
    payload, buffers = parcel
    return payload, out_of_band(buffers)
