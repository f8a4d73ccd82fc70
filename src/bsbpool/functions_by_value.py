"""Functions and classes that cannot be found by name, with cloudpickle.

A function travels as its code and what it closes over, but its global names stay
names: on the other rank they are looked up in the same module there. So a lambda
sees the globals of the rank that runs it, as a function sent by name does, and
globals that cannot be pickled (a communicator, a scaffold) do not get in the way.
Only globals of the main script that the other rank has not defined come along.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import threading
import types
from typing import Any

from bsbpool import classes_by_value
from bsbpool.by_name import BOUND_TYPES, NAMED_TYPES, LruCache, is_importable, reduce_bound
from bsbpool.classes_by_value import reduce_decorated

LARGEST_GLOBAL = 64 * 1024
"""Bytes of a global of the main script that comes along; larger ones are passed as arguments."""


class Pickler(classes_by_value.Pickler):
    """By value what has no name, and nothing else."""

    def reducer_override(self, obj: Any) -> Any:
        """Say how to pickle an object that pickle does not know by itself."""
        if not issubclass(type(obj), NAMED_TYPES):
            return super().reducer_override(obj)  # names of other objects do not matter
        if is_importable(obj) and not _is_inside_travelling(obj):
            return _travelling(obj) if _main_travels else NotImplemented
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
    missing = _pickled(values) if module == "__main__" else {}
    return (_make, (code, module, missing, *rest), (state, slots), *others)


def _pickled(values: dict[str, Any]) -> dict[str, bytes]:
    """Pickle what can be pickled."""
    parcels = {}
    pickler = Pickler if _main_travels else classes_by_value.Pickler
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
            if part is not obj:
                return super().reducer_override(part)
            if isinstance(obj, types.FunctionType):
                return _reduce_function(self, obj)
            # A class, as of no module, or a function with a cache
            return classes_by_value.Pickler.reducer_override(self, obj)

    by_names = _main_travels or isinstance(obj, (types.FunctionType, LruCache))
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
    if not _main_travels or not isinstance(obj, (types.FunctionType, type, LruCache)):
        return False
    owner, _, rest = obj.__qualname__.partition(".")
    return obj.__module__ == "__main__" and bool(rest) and _is_under_way(_main(owner))


def _is_under_way(obj: Any) -> bool:
    return id(obj) in _under_way.objects


def _travelling(obj: Any) -> Any:
    """Return how an importable object is pickled when the other rank has not run the script."""
    if not isinstance(obj, (types.FunctionType, type, LruCache)) or obj.__module__ != "__main__":
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
