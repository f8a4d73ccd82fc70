"""Functions and classes that cannot be found by name, with cloudpickle.

A function travels as its code and what it closes over, but its global names stay
names: on the other rank they are looked up in the same module there. So a lambda
sees the globals of the rank that runs it, as a function sent by name does, and
globals that cannot be pickled (a communicator, a scaffold) do not get in the way.
Only globals of the main script that the other rank has not defined come along.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import pickle
import sys
import types
from typing import Any

import cloudpickle

LARGEST_GLOBAL = 64 * 1024
"""Bytes of a global of the main script that comes along; larger ones are passed as arguments."""


def is_importable(obj: Any) -> bool:
    """Whether an object's module gives it back by its name."""
    name = getattr(obj, "__qualname__", None)
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    if name is None or module is None:
        return False
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """By value what has no name, and nothing else."""

    def reducer_override(self, obj: Any) -> Any:
        """Say how to pickle an object that pickle does not know by itself."""
        if is_importable(obj):
            return NotImplemented
        if isinstance(obj, types.FunctionType) and _has_module(obj):
            return _over_module(obj, self._dynamic_function_reduce(obj))
        return super().reducer_override(obj)


def _has_module(function: types.FunctionType) -> bool:
    module = sys.modules.get(function.__module__)
    return (
        module is not None
        and function.__globals__ is module.__dict__
        and (module.__spec__ is not None or function.__module__ == "__main__")
    )


_main_is_shared = True


def main_runs_alone() -> None:
    """From here on no function takes globals of the main script along; see `bsbpool.script`."""
    global _main_is_shared
    _main_is_shared = False


def _over_module(function: types.FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn cloudpickle's recipe of a function into one over the globals of its module."""
    _, (code, _, *rest), (state, slots), *others = reduced
    values = slots["__globals__"]
    slots["__globals__"] = {}
    missing = _pickled(values) if function.__module__ == "__main__" and _main_is_shared else {}
    return (_make, (code, function.__module__, missing, *rest), (state, slots), *others)


def _pickled(values: dict[str, Any]) -> dict[str, bytes]:
    """Pickle what can be pickled."""
    parcels = {}
    for name, value in values.items():
        file = _Bounded()
        try:
            cloudpickle.Pickler(file).dump(value)
        except Exception:
            continue  # the other rank has its own, or fails by the name
        parcels[name] = file.getvalue()
    return parcels


class _Bounded(io.BytesIO):
    """A file that refuses to grow: nobody waits for the pickle of what is too large anyway."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST_GLOBAL:
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
            if part is obj and isinstance(obj, types.FunctionType):
                return _over_module(obj, self._dynamic_function_reduce(obj))
            if part is obj and isinstance(obj, _Cached):
                return _cache_again, (obj.__wrapped__, obj.cache_parameters())
            return super().reducer_override(part)

    if not isinstance(obj, (types.FunctionType, _Cached)):
        value: bytes = cloudpickle.dumps(obj)
        return value
    file = io.BytesIO()
    ByValue(file, protocol=5).dump(obj)
    return file.getvalue()


_Cached: Any = type(functools.lru_cache(lambda: None))


def _cache_again(function: Any, parameters: dict[str, Any]) -> Any:
    """Make a function with a cache, an empty one."""
    return functools.lru_cache(**parameters)(function)


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
