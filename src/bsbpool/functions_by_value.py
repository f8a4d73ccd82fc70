"""Functions and classes that cannot be found by name, with cloudpickle.

A function travels as its code and what it closes over, but its global names stay
names: on the other rank they are looked up in the same module there. So a lambda
sees the globals of the rank that runs it, as a function sent by name does, and
globals that cannot be pickled (a communicator, a scaffold) do not get in the way.
Only globals of the main script that the other rank has not defined come along.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import sys
import types
from typing import Any

from bsbpool import classes_by_value
from bsbpool.by_name import (
    BOUND_TYPES,
    NAMED_TYPES,
    LruCache,
    is_importable,
    main_is_shared,
    reduce_bound,
)
from bsbpool.classes_by_value import reduce_decorated

LARGEST_GLOBAL = 64 * 1024
"""Bytes of a global of the main script that comes along; larger ones are passed as arguments."""


class Pickler(classes_by_value.Pickler):
    """By value what has no name, and nothing else."""

    def reducer_override(self, obj: Any) -> Any:
        """Say how to pickle an object that pickle does not know by itself."""
        if not issubclass(type(obj), NAMED_TYPES):
            return super().reducer_override(obj)  # names of other objects do not matter
        if is_importable(obj):
            return NotImplemented
        if isinstance(obj, BOUND_TYPES):
            return reduce_bound(obj)
        if isinstance(obj, types.FunctionType):
            return _reduce_function(self, obj)
        return super().reducer_override(obj)


def _reduce_function(pickler: Pickler, function: types.FunctionType) -> Any:
    """Return the recipe of a function by value."""
    recipe = reduce_decorated(function)
    if recipe is not None:
        return recipe
    reduced = pickler._dynamic_function_reduce(function)
    module = _module_of(function)
    return reduced if module is None else _over_module(module, reduced)


def _module_of(function: types.FunctionType) -> str | None:
    """Return the name of the module that has a function's globals, None when there is none.

    A decorator may have given the function the ``__module__`` of another one.
    """
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name or "")
    if module is None or function.__globals__ is not module.__dict__:
        return None
    return name if module.__spec__ is not None or name == "__main__" else None


def _over_module(module: str, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn cloudpickle's recipe of a function into one over the globals of its module."""
    _, (code, _, *rest), (state, slots), *others = reduced
    values = slots["__globals__"]
    slots["__globals__"] = {}
    missing = _pickled(values) if module == "__main__" and main_is_shared() else {}
    return (_make, (code, module, missing, *rest), (state, slots), *others)


def _pickled(values: dict[str, Any]) -> dict[str, bytes]:
    """Pickle what can be pickled."""
    parcels = {}
    for name, value in values.items():
        file = _Bounded()
        try:
            classes_by_value.Pickler(file).dump(value)
        except Exception:
            continue  # the other rank has its own, or fails by the name
        parcels[name] = file.getvalue()
    return parcels


def fits(obj: Any, most: int) -> bool:
    """Whether an object can be pickled into at most this many bytes."""
    try:
        Pickler(_Bounded(most)).dump(obj)
    except Exception:
        return False
    return True


class _Bounded(io.BytesIO):
    """A file of limited size; OverflowError ends the pickling of an object that is too large."""

    def __init__(self, most: int = LARGEST_GLOBAL) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._most:
            raise OverflowError("too large to come along")
        return super().write(data)


def _make(code: Any, module: str, missing: dict[str, bytes], *rest: Any) -> Any:
    names = importlib.import_module(module).__dict__
    for name, parcel in missing.items():
        # Jobs may have given it another value, which it keeps until main gives it a new one.
        if name not in names or _arrived.get(name, parcel) != parcel:
            with contextlib.suppress(AttributeError):  # it needs what is not defined here
                names[name] = pickle.loads(parcel)
                _arrived[name] = parcel
    return types.FunctionType(code, names, *rest)


class OfMain:
    """A function or class of the main script; unpickles as that, by name or by value."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the name and the value."""
        try:
            value = _by_value(self.function)
        except Exception:  # it refers to what has no value, so the name must do
            value = None
        return _find_in_main, (self.function.__qualname__, value)


def _by_value(obj: Any) -> bytes:
    class ByValue(Pickler):
        def reducer_override(self, part: Any) -> Any:
            if part is not obj:
                return super().reducer_override(part)
            if isinstance(obj, types.FunctionType):
                return _reduce_function(self, obj)
            # A class, as of no module, or a function with a cache
            return classes_by_value.Pickler.reducer_override(self, obj)

    by_names = isinstance(obj, (types.FunctionType, LruCache))
    file = io.BytesIO()
    (ByValue if by_names else classes_by_value.Pickler)(file, protocol=5).dump(obj)
    return file.getvalue()


def _find_in_main(name: str, value: bytes | None) -> Any:
    found: Any = sys.modules["__main__"]
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        if value is None:
            raise
        return pickle.loads(value)
    return found


_arrived: dict[str, bytes] = {}
"""What came from the main script's rank, as it was pickled last."""
