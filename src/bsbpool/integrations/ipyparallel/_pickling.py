"""How functions, arguments and results travel between the client and the engines.

A function whose module is ``__main__`` runs on an engine with the engine's namespace as its
globals, and is sent by value; so are functions that cannot be imported. A `Reference` is resolved
in that namespace when the arguments are unpickled.
"""

from __future__ import annotations

import functools
import importlib
import io
import marshal
import pickle
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

from bsbpool import classes_by_value
from bsbpool.by_name import is_importable
from bsbpool.serialization import buffer_collector

Packed = tuple[bytes, list[memoryview]]
"""A pickle and its buffers."""


class _Place(threading.local):
    """The namespace of the engine that this thread belongs to; None on the client."""

    namespace: dict[str, Any] | None = None


place = _Place()


def namespace_here() -> dict[str, Any]:
    """Return the namespace of this engine; on the client, that of the program."""
    return vars(sys.modules["__main__"]) if place.namespace is None else place.namespace


class Reference:
    """An object in the namespace of the engine, as an argument of a task, or as its function.

    Parameters
    ----------
    name : str
        Its name, or an expression.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        self.name = name

    def __repr__(self) -> str:
        return f"<Reference: {self.name!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object, on an engine."""
        return _resolve(self.name)(*args, **kwargs)

    def __reduce__(self) -> Any:
        return _resolve, (self.name,)


def _resolve(name: str) -> Any:
    return eval(name, namespace_here())


class EnginePickler(classes_by_value.Pickler):
    """Pickles functions in the way of this module; everything else as cloudpickle does."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how an object is pickled that `pickle` does not know."""
        if type(obj) is types.FunctionType:
            return _reduce_function(obj)
        return super().reducer_override(obj)


def _reduce_function(function: types.FunctionType) -> Any:
    module = function.__module__ or "__main__"
    if module != "__main__" and is_importable(function):
        return NotImplemented
    state = (
        function.__defaults__,
        function.__kwdefaults__,
        function.__dict__ or None,
        function.__annotations__ or None,
        [_content(cell) for cell in function.__closure__ or ()],
    )
    code = _dumped_code(function.__code__)
    made = code, module, function.__name__, function.__qualname__
    return _make_function, made, state, None, None, _set_state


@functools.lru_cache(maxsize=512)
def _dumped_code(code: types.CodeType) -> bytes:
    return marshal.dumps(code)


@functools.lru_cache(maxsize=512)
def _loaded_code(dumped: bytes) -> Any:
    return marshal.loads(dumped)


def _content(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()  # the variable has no value yet


def _make_function(dumped: bytes, module: str, name: str, qualname: str) -> types.FunctionType:
    code = _loaded_code(dumped)
    cells = tuple(types.CellType() for _ in code.co_freevars)
    made = types.FunctionType(code, globals_of(module), name, None, cells)
    made.__qualname__, made.__module__ = qualname, module
    return made


def globals_of(module: str) -> dict[str, Any]:
    """Return the globals of functions of a module; the namespace here if it cannot be imported."""
    if module != "__main__":
        try:
            return vars(importlib.import_module(module))
        except ImportError:
            pass
    return namespace_here()


def _set_state(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    function.__defaults__, function.__kwdefaults__, attributes, annotations, contents = state
    if annotations:
        function.__annotations__ = annotations
    if attributes:
        function.__dict__.update(attributes)
    for cell, content in zip(function.__closure__ or (), contents, strict=True):
        if content:
            cell.cell_contents = content[0]


Dumper = Callable[[Any], Packed]


def pack(obj: Any) -> Packed:
    """Pickle an object; large buffers are not copied."""
    buffers: list[memoryview] = []
    try:
        payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
        if b"__main__" not in payload:  # objects of the program are not sent by name
            return payload, buffers
    except Exception:  # something must be sent by value
        pass
    file, buffers = io.BytesIO(), []
    EnginePickler(file, 5, buffer_callback=buffer_collector(buffers)).dump(obj)
    return file.getvalue(), buffers


def pack_with(module: Any) -> Dumper:
    """Return a function like `pack` that uses `dumps` of another package, such as cloudpickle."""

    def dump(obj: Any) -> Packed:
        return module.dumps(obj, 4), []

    return dump


def unpack(payload: Any, buffers: Sequence[Any]) -> Any:
    """Unpickle an object; arrays use the buffers as their memory."""
    return pickle.loads(payload, buffers=buffers)
