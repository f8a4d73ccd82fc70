"""The functions that workers keep: each is sent to a worker once, and then used by number."""

from __future__ import annotations

import types
from collections import OrderedDict, deque
from typing import Any

from bsbpool._core.jobs.handle import OptionedFunction
from bsbpool.by_name import LruCache
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.serialization import Parcel, dumps_function, is_pickled_by_name

MOST_FUNCTIONS = 1_024
"""The number of functions that a worker keeps."""

CALL, EXECUTE, CLOSURE = 0, 1, 5
"""Modes: a worker calls the function itself, the `execute` of a class of jobs, or the function that
it makes from a template. `futures.codes` has further modes."""

_IMMUTABLE = frozenset([type(None), type(...), bool, int, float, complex, str, bytes])
_NAMED = (types.FunctionType, types.BuiltinFunctionType, type)
"""With `_IMMUTABLE`, the types of default values that cannot change."""


def callee_of(job: Job[Any]) -> tuple[Any, int, Any]:
    """Return what a worker calls for a job, the mode of the call, and the arguments."""
    call = job.function_call
    if call is None:
        if job.options is not None and (job.options.for_workers or job.attempts):
            from bsbpool.execution.optioned_call import OptionedCall, optioned_call

            return OptionedCall, EXECUTE, optioned_call(job)
        return type(job), EXECUTE, job.execute_arguments
    f, args, kwargs = call
    if is_kept(f):
        return f, CALL, (args, kwargs)
    return FunctionJob, EXECUTE, job.execute_arguments


def is_kept(f: Any) -> bool:
    """Whether workers keep a callable for further calls.

    They do if it has no state that can change between calls. A callable that is sent by name has
    the state of the rank that runs it. All others are sent with each call.
    """
    if isinstance(f, types.FunctionType):
        if not (f.__closure__ or f.__defaults__ or f.__kwdefaults__ or f.__dict__):
            return True
        return _is_stateless(f) or ("<locals>" not in f.__qualname__ and is_pickled_by_name(f))
    if isinstance(f, types.BuiltinFunctionType):
        owner = f.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return True
        return isinstance(owner, type) and is_pickled_by_name(owner)
    return isinstance(f, (type, LruCache, OptionedFunction)) and is_pickled_by_name(f)


def _is_stateless(f: types.FunctionType) -> bool:
    if f.__closure__ or f.__dict__:
        return False
    defaults = (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())
    return all(map(_is_constant, defaults))


def _is_constant(value: Any) -> bool:
    kind = type(value)
    if kind in _IMMUTABLE:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_is_constant, value))
    return isinstance(value, _NAMED) and is_pickled_by_name(value)


class FunctionTable:
    """The functions of one run by number; keeps the most recently used ones."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[Any, tuple[int, Any]] = OrderedDict()
        self._parcels: dict[int, tuple[int, Parcel]] = {}
        self._evicted: deque[int] = deque()
        self._next = 0

    def number_of(self, callee: Any, mode: int) -> int:
        """Return the number of a function; a new one is pickled.

        Raises
        ------
        Exception
            The error of pickling the function.
        """
        key = (id(callee), mode)
        if key in self._numbers:
            self._numbers.move_to_end(key)
            return self._numbers[key][0]
        number = self.add(mode, dumps_function(callee))
        # The entry keeps the callee alive, so that its id is not reused.
        self._numbers[key] = (number, callee)
        if len(self._numbers) > MOST_FUNCTIONS:
            _, (oldest, _) = self._numbers.popitem(last=False)
            self.drop(oldest)
        return number

    def add(self, mode: int, parcel: Parcel) -> int:
        """Add a pickled function, which stays until it is dropped; return its number."""
        number = self._next
        self._next += 1
        self._parcels[number] = (mode, parcel)
        return number

    def drop(self, number: int) -> None:
        """Let workers drop a function; from any thread."""
        if self._parcels.pop(number, None) is not None:
            self._evicted.append(number)

    def parcel(self, number: int) -> tuple[int, bytes, list[memoryview]]:
        """Return the mode and the pickle of a function."""
        mode, (payload, buffers) = self._parcels[number]
        return mode, payload, buffers

    def forget_all(self, *others: int) -> None:
        """Let workers drop all functions, and the entries with the other numbers."""
        self._evicted += [*self._parcels, *others]
        self._numbers.clear()
        self._parcels.clear()

    def take_evicted(self) -> list[int]:
        """Return the numbers that were dropped since the last call."""
        # One at a time, since another thread may append.
        return [self._evicted.popleft() for _ in range(len(self._evicted))]
