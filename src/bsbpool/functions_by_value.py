"""Pickling of functions and classes that cannot be imported, with cloudpickle.

The pickle of a function has its code and its closure. Its globals are not pickled: on the other
rank they are looked up in the module of the same name. So a lambda uses the globals of the rank
that runs it, as an imported function does, and globals that cannot be pickled (a communicator, a
scaffold) do no harm. Only globals of the main script are sent, for ranks that have not defined
them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
import sys
import types
from typing import Any

import cloudpickle

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
"""Maximum pickled size in bytes of a global of the main script that is sent with a function.

Programs pass larger objects as arguments."""


class Pickler(classes_by_value.Pickler):
    """Pickles functions and classes that cannot be imported by value, all others by name."""

    def reducer_override(self, obj: Any) -> Any:
        """Return the reduced value of an object that `pickle` does not handle itself."""
        if not issubclass(type(obj), NAMED_TYPES):
            return super().reducer_override(obj)  # its `__qualname__` means nothing
        if is_importable(obj):
            return NotImplemented
        if isinstance(obj, BOUND_TYPES):
            return reduce_bound(obj)
        if isinstance(obj, types.FunctionType):
            return _reduce_function(self, obj)
        return super().reducer_override(obj)


def _reduce_function(pickler: Pickler, function: types.FunctionType) -> Any:
    """Return the reduced value of a function by value."""
    decorated = reduce_decorated(function)
    if decorated is not None:
        return decorated
    reduced = pickler._dynamic_function_reduce(function)
    module = module_of(function)
    return reduced if module is None else _with_globals_of(module, reduced)


def module_of(function: types.FunctionType) -> str | None:
    """Return the name of the module whose namespace a function uses; None if there is none.

    The ``__module__`` of the function cannot be used: a decorator may have copied it from another
    function.
    """
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name or "")
    if module is None or function.__globals__ is not module.__dict__:
        return None
    return name if module.__spec__ is not None or name == "__main__" else None


def _with_globals_of(module: str, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Change cloudpickle's reduced value of a function to use the namespace of a module."""
    _, (code, _, *rest), (state, slots), *others = reduced
    values = slots["__globals__"]
    slots["__globals__"] = {}
    missing = _pickled(values) if module == "__main__" and main_is_shared() else {}
    return (_make_function, (code, module, missing, *rest), (state, slots), *others)


def _pickled(values: dict[str, Any]) -> dict[str, bytes]:
    """Pickle globals one by one; leave out those that cannot be pickled."""
    pickles = {}
    for name, value in values.items():
        file = _Bounded()
        try:
            classes_by_value.Pickler(file).dump(value)
        except Exception:
            continue  # the other rank defines it, or the function raises NameError there
        pickles[name] = file.getvalue()
    sent_globals.note(pickles)
    return pickles


class SentGlobals:
    """The globals of the main script that were pickled last.

    Attributes
    ----------
    n_changes : int
        How often one of them was different from the time before.
    """

    def __init__(self) -> None:
        self.n_changes = 0
        self._pickles: dict[str, bytes] = {}

    def note(self, pickles: dict[str, bytes]) -> None:
        """Note the pickles of some globals."""
        for name, pickled in pickles.items():
            if self._pickles.get(name, pickled) != pickled:
                self.n_changes += 1
            self._pickles[name] = pickled


sent_globals = SentGlobals()


def global_names(code: types.CodeType) -> list[str]:
    """Return the names of globals that a code, or a code inside of it, refers to."""
    return list(cloudpickle.cloudpickle._extract_code_globals(code))


def fits(obj: Any, most: int) -> bool:
    """Whether an object can be pickled into at most this many bytes."""
    try:
        Pickler(_Bounded(most)).dump(obj)
    except Exception:
        return False
    return True


class _Bounded(io.BytesIO):
    """A file of limited size, which raises OverflowError when an object is too large."""

    def __init__(self, most: int = LARGEST_GLOBAL) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self._most:
            raise OverflowError(f"the pickle is larger than {self._most} bytes")
        return super().write(data)


def _make_function(code: Any, module: str, missing: dict[str, bytes], *rest: Any) -> Any:
    names = importlib.import_module(module).__dict__
    for name, pickled in missing.items():
        # A value that a job has set here stays until the main rank sends a new one.
        if name not in names or _received.get(name, pickled) != pickled:
            with contextlib.suppress(AttributeError):  # it refers to a name that is missing here
                names[name] = pickle.loads(pickled)
                _received[name] = pickled
    return types.FunctionType(code, names, *rest)


class MainDefinition:
    """A function or class of the main script, unpickled by name if possible, else by value."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name and the value."""
        try:
            value = _by_value(self.function)
        except Exception:  # it refers to objects that cannot be pickled; send the name alone
            value = None
        return _load_main_definition, (self.function.__qualname__, value)


def _by_value(obj: Any) -> bytes:
    class ByValue(Pickler):
        def reducer_override(self, part: Any) -> Any:
            if part is not obj:
                return super().reducer_override(part)
            if isinstance(obj, types.FunctionType):
                return _reduce_function(self, obj)
            # A class, as if it had no module, or a cached function
            return classes_by_value.Pickler.reducer_override(self, obj)

    by_names = isinstance(obj, (types.FunctionType, LruCache))
    file = io.BytesIO()
    (ByValue if by_names else classes_by_value.Pickler)(file, protocol=5).dump(obj)
    return file.getvalue()


def _load_main_definition(name: str, value: bytes | None) -> Any:
    found: Any = sys.modules["__main__"]
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        if value is None:
            raise
        return pickle.loads(value)
    return found


_received: dict[str, bytes] = {}
"""The pickle of each global received from the main rank."""
