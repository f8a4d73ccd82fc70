"""Descriptions of values: two values are equivalent if their descriptions are equal.

A description contains types, contents and the identities of the mutable objects inside; making it
calls no method that a class of the program could have defined.
"""

from __future__ import annotations

import array
import collections
import contextlib
import enum
import functools
import random
import re
import types
import weakref
from typing import Any

import numpy as np

Description = Any

UNPICKLABLE = "unpicklable"
BOMB = "bomb"
NO_ALIAS = (int, float, complex, str, bytes, type(None), enum.Enum, type)
CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque)
FIELDS = (
    "errno", "strerror", "filename", "filename2", "name", "path", "msg", "code", "obj", "value",
    "encoding", "object", "start", "end", "reason", "lineno", "offset", "text",
    "print_file_and_line", "characters_written",
)  # fmt: skip
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


def describe(obj: Any) -> Description:
    """Describe a value."""
    return _Describer().describe(obj)


def mentions(description: Description, word: str) -> bool:
    """Whether a description contains a marker."""
    if isinstance(description, tuple):
        return any(mentions(part, word) for part in description)
    return bool(description == word)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "empty"


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class _Describer:
    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def describe(self, obj: Any) -> Description:
        kind = type(obj)
        if kind in (int, float, complex, str, bytes, bool, type(None)):
            return self._plain(obj)
        if isinstance(obj, type):
            return ("class", name_of(obj))
        if not isinstance(obj, (*NO_ALIAS, tuple, frozenset, np.generic)):
            if id(obj) in self._seen:
                return ("same as", self._seen[id(obj)])
            self._seen[id(obj)] = len(self._seen)
            self._kept.append(obj)
        for kinds, way in WAYS:
            if isinstance(obj, kinds):
                return way(self, obj)
        return self._instance(obj)

    def _plain(self, obj: Any) -> Description:
        if type(obj) is str and "0x" in obj:
            obj = ADDRESS.sub("0x", obj)
        if type(obj) is int and abs(obj) > 2**64:
            return ("int", hex(obj))
        if isinstance(obj, (str, bytes)) and len(obj) > 100:
            return (type(obj).__name__, len(obj), obj)
        return (type(obj).__name__, repr(obj))

    def _parts(self, parts: Any) -> tuple[Description, ...]:
        return tuple(self.describe(part) for part in parts)

    def _container(self, obj: Any) -> Description:
        kind = name_of(type(obj))
        if isinstance(obj, (set, frozenset)):
            return (kind, *sorted(map(repr, self._parts(obj))), *self._attributes(obj))
        if isinstance(obj, dict):
            inside = tuple((self.describe(k), self.describe(v)) for k, v in dict.items(obj))
            return (kind, *inside, *self._attributes(obj))
        more = (obj.maxlen,) if isinstance(obj, collections.deque) else ()
        return (kind, *more, *self._parts(list(type(obj).__iter__(obj))), *self._attributes(obj))

    def _attributes(self, obj: Any) -> tuple[Description, ...]:
        found = dict(getattr(obj, "__dict__", {}))
        for kind in type(obj).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__"):
                    with contextlib.suppress(AttributeError):
                        found[slot] = object.__getattribute__(obj, slot)
        return tuple((key, self.describe(found[key])) for key in sorted(found))

    def _instance(self, obj: Any) -> Description:
        if type(obj).__reduce__ is object.__reduce__ or hasattr(obj, "__dict__"):
            return ("instance", name_of(type(obj)), *self._attributes(obj))
        return ("instance", name_of(type(obj)), ADDRESS.sub("0x", repr(obj)))

    def _array(self, obj: np.ndarray[Any, Any]) -> Description:
        native = obj.dtype.newbyteorder("=")  # NumPy itself pickles some arrays as such
        head = (name_of(type(obj)), str(native.descr), obj.shape)
        if isinstance(obj, np.ma.MaskedArray):
            return (*head, self.describe(np.asarray(obj.data)), np.ma.getmaskarray(obj).tobytes())
        if obj.dtype.hasobject:
            return (*head, *self._parts(obj.ravel().tolist()))
        return (*head, obj.astype(native).tobytes())

    def _error(self, obj: BaseException) -> Description:
        try:
            # As in `_array`: an array may have come in the byte order of the machine.
            text = ADDRESS.sub("0x", str(obj)).replace("dtype='>i2'", "dtype=int16")
        except Exception as broken:
            text = f"its str raised {type(broken).__name__}"
        args = self.describe(obj.args)
        if "set'" in repr(args):
            text = ""  # it depends on the order of the set in this process
        fields = tuple(
            (name, self.describe(getattr(obj, name, None)))
            for name in FIELDS
            if hasattr(type(obj), name)
        )
        attributes = tuple(part for part in self._attributes(obj) if part[0] != "__notes__")
        group = obj.exceptions if isinstance(obj, BaseExceptionGroup) else ()
        return (
            "error", name_of(type(obj)), args, text, fields, attributes,
            self._parts(group),
        )  # fmt: skip

    def _function(self, obj: Any) -> Description:
        closure = [_content(cell) for cell in obj.__closure__ or ()]
        defaults = (*(obj.__defaults__ or ()), *(obj.__kwdefaults__ or {}).values())
        return ("function", obj.__qualname__, *self._parts((*closure, *defaults)))

    def _method(self, obj: Any) -> Description:
        return ("method", obj.__func__.__qualname__, self.describe(obj.__self__))

    def _builtin(self, obj: Any) -> Description:
        subject = getattr(obj, "__self__", None)
        inside = () if isinstance(subject, types.ModuleType) else (self.describe(subject),)
        return ("builtin", obj.__qualname__, *inside)

    def _partial(self, obj: Any) -> Description:
        return ("partial", self.describe(obj.func), *self._parts((obj.args, obj.keywords)))

    def _unpicklable(self, obj: Any) -> Description:
        return (UNPICKLABLE, type(obj).__name__)

    def _bomb(self, obj: Any) -> Description:
        return (BOMB, obj.when, self.describe(obj.error))

    def _scalar(self, obj: Any) -> Description:
        # Some types have two names, `ulonglong` and `uint64`: NumPy pickles the dtype.
        return ("scalar", str(obj.dtype), obj.tobytes())

    def _random(self, obj: Any) -> Description:
        if isinstance(obj, random.Random):
            state = obj.getstate()
        else:
            state = obj.get_state() if hasattr(obj, "get_state") else obj.bit_generator.state
        return (name_of(type(obj)), repr(state))

    def _cache(self, obj: Any) -> Description:
        return ("cache",)  # of `singledispatch`: it fills while others are called

    def _enum(self, obj: Any) -> Description:
        return ("enum", str(obj))

    def _bytes(self, obj: Any) -> Description:
        return (name_of(type(obj)), bytes(obj))


def _ways() -> list[tuple[Any, Any]]:
    import _thread

    from differential.values import Bomb

    return [
        (enum.Enum, _Describer._enum),
        (Bomb, _Describer._bomb),
        (BaseException, _Describer._error),
        (np.ndarray, _Describer._array),
        (np.generic, _Describer._scalar),
        ((random.Random, np.random.Generator, np.random.RandomState), _Describer._random),
        (weakref.WeakKeyDictionary, _Describer._cache),
        (functools.partial, _Describer._partial),
        (types.FunctionType, _Describer._function),
        (types.MethodType, _Describer._method),
        ((types.BuiltinFunctionType, types.MethodWrapperType), _Describer._builtin),
        ((types.GeneratorType, _thread.LockType, _thread.RLock), _Describer._unpicklable),
        ((bytearray, array.array), _Describer._bytes),
        (CONTAINERS, _Describer._container),
    ]


WAYS = _ways()
