"""Callables with large arrays: bound methods, partials, closures and objects.

Each call gets a copy of its own. If a callable is sent again with the same contents, workers keep
the contents, and the calls copy only the pages of memory that they change.
"""

from __future__ import annotations

import functools
import types
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

from bsbpool.broadcasting import BroadcastData, make_data
from bsbpool.dataflow import AS_COPY
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.serialization import dumps_function

LARGE = 64 * 1024
"""Size in bytes of the smallest array that counts."""
MOST = 16
"""The number of callables that workers keep."""
Buffers = list[memoryview]
_EMPTY = types.CellType()


def has_large_state(f: Any) -> bool:
    """Whether a large array is an attribute, an argument or a variable of a callable."""
    # By name: numpy may not be imported, and attributes of other objects may run any code.
    arrays = [value for value in _state_of(f) if type(value).__name__ == "ndarray"]
    return any([value.nbytes >= LARGE for value in arrays])


def _state_of(f: Any) -> list[Any]:
    if isinstance(f, functools.partial):
        return [*f.args, *f.keywords.values(), *_state_of(f.func)]
    if not isinstance(f, types.FunctionType):
        owner = f.__self__ if isinstance(f, types.MethodType) else f
        return list(vars(owner).values()) if hasattr(owner, "__dict__") else []
    cells = [cell.cell_contents for cell in f.__closure__ or () if cell != _EMPTY]
    return [*cells, *(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()]


def sent_function(job: Job[Any], arguments: Any) -> Any:
    """Return the function among the arguments that are sent for a job; None if there is none.

    They are those of the function, of `FunctionJob.execute` or of `OptionedCall.execute`.
    """
    if not isinstance(job, FunctionJob):
        return None
    args, _ = arguments
    if len(args) == 3 and args[0] is FunctionJob:
        args = args[1]
    f, *_ = job.execute_arguments[0]
    return f if len(args) == 2 and args[0] is f else None


def with_function(arguments: Any, f: Any) -> Any:
    """Return the arguments of `sent_function` with another function."""
    args, kwargs = arguments
    if len(args) == 3:
        kind, (_, f_args), options = args
        return (kind, (f, f_args), options), kwargs
    return (f, args[1]), kwargs


class LargeFunctions:
    """The large callables of one run, on the main rank.

    Parameters
    ----------
    has_ended : callable
        Whether the job with a number has ended.
    drop : callable
        Called with the id of data that workers can drop.
    """

    def __init__(self, has_ended: Callable[[int], bool], drop: Callable[[int], object]) -> None:
        self._has_ended = has_ended
        self._drop = drop
        self._known: OrderedDict[Any, _Known | None] = OrderedDict()
        self._retired: list[_Known] = []  # that jobs may still need

    def replaced(self, f: Any, job: int) -> Any:
        """Return data in place of a callable that was sent before with the same contents.

        Parameters
        ----------
        f : callable
            The callable.
        job : int
            The number of the job that calls it.
        """
        payload, buffers = dumps_function(f)
        key = payload, tuple(map(_sample, buffers))
        if key not in self._known:
            self._known[key] = None  # perhaps it is used only once
            if len(self._known) > MOST:
                self._retire(self._known.popitem(last=False)[1])
            return f
        known = self._known[key]
        if known is None or not _equal(known.data.parcel()[1], buffers):
            self._retire(known)
            known = self._known[key] = _Known(make_data(AS_COPY), deque())
            known.data.fill(payload, buffers)
        self._known.move_to_end(key)
        self._forget_ended(known)
        known.jobs.append(job)
        return known.data

    def _retire(self, known: _Known | None) -> None:
        if known is not None:
            self._retired.append(known)
        for old in self._retired:
            self._forget_ended(old)
            if not old.jobs:
                self._drop(old.data.id)
        self._retired = [old for old in self._retired if old.jobs]

    def _forget_ended(self, known: _Known) -> None:
        while known.jobs and self._has_ended(known.jobs[0]):
            known.jobs.popleft()


class _Known(NamedTuple):
    data: BroadcastData
    jobs: deque[int]  # that may need it


def _sample(buffer: memoryview) -> tuple[int, int]:
    """Return the size of a buffer, and a checksum of a few parts of it."""
    step = max(len(buffer) // 64, 64)
    return len(buffer), crc32(b"".join(buffer[at : at + 64] for at in range(0, len(buffer), step)))


def _equal(kept: Buffers, buffers: Buffers) -> bool:
    import numpy as np

    for a, b in zip(kept, buffers, strict=True):
        whole = len(a) // 8 * 8
        if not np.array_equal(np.frombuffer(a[:whole], "u8"), np.frombuffer(b[:whole], "u8")):
            return False
        if a[whole:] != b[whole:]:
            return False
    return True
