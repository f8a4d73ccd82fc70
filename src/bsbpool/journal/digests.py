"""Digests of arguments that have no builtin type.

`bsbpool._core.journal.keys` digests numbers, texts and containers. Here other objects are described
by such values: a dataclass by its class and fields, an array by its type, shape and contents. An
object that no rule describes has no digest, since a guess could give two jobs one key.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import random
import re
import sys
import threading
import types
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from bsbpool._core.jobs.handle import DataRef
from bsbpool._core.journal.keys import JobKeys, digest_of_name
from bsbpool.journal import functions
from bsbpool.journal.arrays import PACKAGES
from bsbpool.naming import brief

T = TypeVar("T")

DEEPEST = 50
"""How deep objects without a builtin type may be inside each other."""

_registered: dict[type, Callable[[Any], Any]] = {}


def register_key(cls: type[T], function: Callable[[T], Any]) -> None:
    """Set what stands for the objects of a class, and of its subclasses, in keys of jobs.

    Parameters
    ----------
    cls : type
        The class.
    function : callable
        Called with an object; returns numbers, texts, tuples and the like that differ whenever two
        objects make different jobs, and that are the same in each run of the program.

    Examples
    --------
    >>> import bsbpool.journal
    >>> class Model:
    ...     def __init__(self, name):
    ...         self.name = name
    >>> bsbpool.journal.register_key(Model, lambda model: model.name)
    >>> digest = bsbpool.journal.stable_digest
    >>> digest(Model("a")) == digest(Model("a")), digest(Model("a")) == digest(Model("b"))
    (True, False)
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a class, got {brief(cls)}")
    if not callable(function):
        raise TypeError(f"function must be a function of an object, got {brief(function)}")
    _registered[cls] = function


def stable_digest(value: Any) -> str:
    """Return the digest that an argument has in keys of jobs, the same in each run.

    Raises
    ------
    TypeError
        If the object has none.
    """
    return make_keys().digest(value).hex()


def make_keys() -> JobKeys:
    """Return an object that makes keys."""
    return Digests().keys


class _Depth(threading.local):
    """How many objects inside each other a thread digests: any thread may queue jobs."""

    value = 0


def digest_of_key(key: str) -> str:
    """Return the digest that stands in a journal for the option `key` of a job.

    For programs that look a job up before it is queued.
    """
    return digest_of_name(key).hex()


class Digests:
    """Digests functions and objects for keys.

    Attributes
    ----------
    keys : JobKeys
        Makes the keys.
    of_future : callable or None
        Returns the key of a future of an executor, None for other objects.
    """

    def __init__(self) -> None:
        self._functions = functions.Descriptions(lambda value: self.keys.digest(value))
        self._broadcast: dict[int, bytes] = {}
        self._depth = _Depth()
        self.of_future: Callable[[Any], bytes | None] | None = None
        self.keys = JobKeys(self.digest_function, self.digest_other)

    def digest_function(self, f: Any) -> tuple[bytes, bool]:
        """Return the digest of a function, and whether it can change."""
        description, can_change = self._functions.of_callee(f)
        return self.keys.digest(description), can_change

    def digest_other(self, value: Any) -> bytes:
        """Return the digest of an object.

        Raises
        ------
        TypeError
            If it has none.
        """
        if self.of_future is not None and (key := self.of_future(value)) is not None:
            return key
        if isinstance(value, DataRef):
            return self._of_broadcast(value)
        if self._depth.value >= DEEPEST:
            raise TypeError(f"{brief(value)} refers to itself, or to objects that are too deep")
        self._depth.value += 1
        try:
            return self.keys.digest(self._describe(value))
        finally:
            self._depth.value -= 1

    def _of_broadcast(self, data: Any) -> bytes:
        target = data.target or data
        if target.id not in self._broadcast:
            self._broadcast[target.id] = self.keys.digest(("broadcast", target.value()))
        return self._broadcast[target.id]

    def _describe(self, value: Any) -> Any:
        kind = type(value)
        own = getattr(kind, "__bsbpool_key__", None)
        if own is not None:
            return functions.name_of_class(kind), own(value)
        for base in kind.__mro__[:-1]:
            if base in _registered:
                return functions.name_of_class(kind), _registered[base](value)
        for base in kind.__mro__[:-1]:
            describe = _RULES.get(base)
            if describe is not None and (kind is base or base in _WITH_SUBCLASSES):
                return functions.name_of_class(kind), describe(value)
        if issubclass(kind, enum.Enum):
            return functions.name_of_class(kind), self._of_member(value)
        if "__dataclass_fields__" in vars(kind) and _has_no_builtin_base(kind):
            return functions.name_of_class(kind), _of_dataclass(value)
        if issubclass(kind, tuple) and hasattr(kind, "_make"):
            return functions.name_of_class(kind), tuple(value), getattr(value, "__dict__", None)
        package = kind.__module__.partition(".")[0]
        if package in PACKAGES and package in sys.modules:
            found = PACKAGES[package](value)
            if found is not None:
                return functions.name_of_class(kind), found
        if self._functions.is_function(value):
            return self._functions.of_argument(value)
        raise TypeError(
            f"{brief(value)} of class {functions.name_of_class(kind)} has no stable digest"
        )

    def _of_member(self, value: enum.Enum) -> Any:
        """Describe a member of an enumeration, or flags that need not have a name."""
        try:
            return value.name, self.keys.digest(value.value)
        except TypeError:  # as that of `token = object()`, which only the name tells from others
            return value.name, None


def _has_no_builtin_base(kind: type) -> bool:
    """Whether the objects of a class have their data in attributes only."""
    return all(base.__flags__ & functions.HEAP_TYPE for base in kind.__mro__[:-1])


def _of_dataclass(value: Any) -> Any:
    """Describe an object by its fields, and by the attributes that it got besides."""
    names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
    fields = [(name, getattr(value, name)) for name in names]
    others = {
        name: attribute
        for name, attribute in _attributes_of(value).items()
        if name not in names
        and not isinstance(getattr(type(value), name, None), functools.cached_property)
    }
    return fields, others


def _attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, also those in slots."""
    slots = {
        name: member.__get__(value)
        for kind in type(value).__mro__
        for name, member in vars(kind).items()
        if isinstance(member, types.MemberDescriptorType) and hasattr(value, name)
    }
    return {**slots, **getattr(value, "__dict__", {})}


def _of_module(module: types.ModuleType) -> Any:
    return module.__name__


def _of_deque(value: collections.deque[Any]) -> Any:
    return list(value), value.maxlen


_RULES: dict[type, Callable[[Any], Any]] = {
    bytearray: bytes,
    memoryview: lambda value: (value.format, value.shape, bytes(value)),
    array.array: lambda value: (value.typecode, value.tobytes()),
    complex: lambda value: (value.real, value.imag),
    range: lambda value: (value.start, value.stop, value.step),
    slice: lambda value: (value.start, value.stop, value.step),
    type(...): lambda value: (),
    type(NotImplemented): lambda value: (),
    decimal.Decimal: str,
    fractions.Fraction: lambda value: (value.numerator, value.denominator),
    datetime.date: datetime.date.isoformat,
    datetime.time: lambda value: (value.isoformat(), value.fold, str(value.tzinfo)),
    datetime.datetime: lambda value: (value.isoformat(), value.fold, str(value.tzinfo)),
    datetime.timedelta: lambda value: (value.days, value.seconds, value.microseconds),
    datetime.timezone: lambda value: (value.utcoffset(None), value.tzname(None)),
    uuid.UUID: lambda value: value.bytes,
    pathlib.PurePath: str,
    re.Pattern: lambda value: (value.pattern, value.flags),
    random.Random: lambda value: value.getstate(),
    collections.OrderedDict: lambda value: list(value.items()),
    collections.defaultdict: lambda value: (value.default_factory, dict(value)),
    collections.Counter: dict,
    collections.deque: _of_deque,
    types.MappingProxyType: dict,
    types.SimpleNamespace: vars,
    types.ModuleType: _of_module,
    types.GenericAlias: lambda value: (value.__origin__, value.__args__),
}
"""What stands for the objects of a class."""
_WITH_SUBCLASSES = {pathlib.PurePath}
"""Classes whose subclasses hold no further data."""
