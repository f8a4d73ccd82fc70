"""Functions and classes that cannot be found by name, with cloudpickle.

A function travels as its code and what it closes over, but its global names stay
names: on the other rank they are looked up in the same module there. So a lambda
sees the globals of the rank that runs it, as a function sent by name does, and
globals that cannot be pickled (a communicator, a scaffold) do not get in the way.
Only globals of the main script that the other rank has not defined come along.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import sys
import threading
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
        if is_importable(obj) and not _is_inside_travelling(obj):
            return _travelling(obj) if _main_travels else NotImplemented
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


def _over_module(function: types.FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn cloudpickle's recipe of a function into one over the globals of its module."""
    _, (code, _, *rest), (state, slots), *others = reduced
    values = slots["__globals__"]
    slots["__globals__"] = {}
    missing = _pickled(values) if function.__module__ == "__main__" else {}
    return (_make, (code, function.__module__, missing, *rest), (state, slots), *others)


def _pickled(values: dict[str, Any]) -> dict[str, bytes]:
    """Pickle what can be pickled."""
    parcels = {}
    pickler = Pickler if _main_travels else cloudpickle.Pickler
    for name, value in values.items():
        if _is_under_way(value):
            continue  # what is being pickled is found by its name
        file = _Bounded()
        try:
            pickler(file).dump(value)
        except Exception:
            continue  # the other rank has its own, or fails by the name
        parcels[name] = file.getvalue()
    return parcels


def fits(obj: Any, most: int) -> bool:
    """Whether an object can be pickled into some bytes at most."""
    try:
        Pickler(_Bounded(most)).dump(obj)
    except Exception:
        return False
    return True


class _Bounded(io.BytesIO):
    """A file that refuses to grow: nobody waits for the pickle of what is too large anyway."""

    def __init__(self, most: int = LARGEST_GLOBAL) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._most:
            raise OverflowError("too large to come along")
        return super().write(data)


def _make(code: Any, module: str, missing: dict[str, bytes], *rest: Any) -> Any:
    names = importlib.import_module(module).__dict__
    for name, parcel in ({} if _main_travels else missing).items():
        # Jobs may have given it another value, which it keeps until main gives it a new one.
        if name not in names or _arrived.get(name, parcel) != parcel:
            _give(names, name, parcel)
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
            if part is obj:  # a class, as of no module
                return _made_quietly(cloudpickle.Pickler.reducer_override(self, obj))
            return super().reducer_override(part)

    if not isinstance(obj, (types.FunctionType, _Cached)) and not _main_travels:
        value: bytes = cloudpickle.dumps(obj)
        return value
    file = io.BytesIO()
    ByValue(file, protocol=5).dump(obj)
    return file.getvalue()


_Cached: Any = type(functools.lru_cache(lambda: None))


def _cache_again(function: Any, parameters: dict[str, Any]) -> Any:
    """Make a function with a cache, an empty one."""
    return functools.lru_cache(**parameters)(function)


class _Quiet:
    """Comes before bases that would look at a subclass while it is still empty."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not getattr(cls, "_bsbpool_is_empty", False):
            super().__init_subclass__(**kwargs)


def _made_quietly(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn cloudpickle's recipe of a class into one that works when its bases object."""
    make, *rest = reduced
    if make is not cloudpickle.cloudpickle._make_skeleton_class:
        return reduced
    return (_make_class, *rest)


def _make_class(
    kind: type, name: str, bases: tuple[type, ...], names: dict[str, Any], *rest: Any
) -> Any:
    make = cloudpickle.cloudpickle._make_skeleton_class
    try:
        return make(kind, name, bases, names, *rest)
    except Exception:
        # They have seen it where it was defined, and what they did to it comes along.
        names = {**names, "_bsbpool_is_empty": True}
        made = make(kind, name, (_Quiet, *bases), names, *rest)
        del made._bsbpool_is_empty
        return made


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


# A main script that runs on one rank alone


class _UnderWay(threading.local):
    """What this thread is pickling, by id."""

    def __init__(self) -> None:
        self.objects: set[int] = set()


_main_travels = False
_under_way = _UnderWay()
_arrived: dict[str, bytes] = {}
"""What came from the main script's rank, as it was pickled last."""
_early: dict[str, bytes] = {}
"""What refers to something that had not arrived."""


def let_main_travel() -> None:
    """Pickle what the main script defines by name and by value, wherever it is met."""
    global _main_travels
    _main_travels = True


def _is_inside_travelling(obj: Any) -> bool:
    """Whether an object is part of a class that is being pickled by value."""
    if not _main_travels or not isinstance(obj, (types.FunctionType, type)):
        return False
    owner, _, rest = obj.__qualname__.partition(".")
    return obj.__module__ == "__main__" and bool(rest) and _is_under_way(_main(owner))


def _is_under_way(obj: Any) -> bool:
    return id(obj) in _under_way.objects


def _travelling(obj: Any) -> Any:
    """Return how an importable object is pickled when the other rank has not run the script."""
    if not isinstance(obj, (types.FunctionType, type, _Cached)) or obj.__module__ != "__main__":
        return NotImplemented
    owner, _, rest = obj.__qualname__.partition(".")
    if rest:
        return _find_inside, (_main(owner), rest)
    if _is_under_way(obj):
        return _main, (owner,)
    _under_way.objects.add(id(obj))
    try:
        value = _by_value(obj)
    finally:
        _under_way.objects.discard(id(obj))
    return _arrive_in_main, (owner, value)


def _main(name: str) -> Any:
    return getattr(sys.modules["__main__"], name)


def _find_inside(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _arrive_in_main(name: str, value: bytes) -> Any:
    if _main_travels:  # a thread of the script's own process
        return _main(name)
    names = sys.modules["__main__"].__dict__
    if _arrived.get(name) != value or name not in names:
        names[name] = pickle.loads(value)
        _arrived[name] = value
        for other in list(_early):
            _give(names, other, _early.pop(other))
    return names[name]


def _give(names: dict[str, Any], name: str, parcel: bytes) -> None:
    """Unpickle a global; later, when it needs what is about to arrive."""
    try:
        names[name] = pickle.loads(parcel)
    except AttributeError:
        _early[name] = parcel
    else:
        _arrived[name] = parcel
