"""Pickling of code, classes and decorated functions by value, on top of cloudpickle.

Code keeps its file name, so that tracebacks show source lines. Classes keep their qualified names
and their slots. The objects that decorators of `functools` make are made again by the process that
unpickles them, with empty caches and new locks.
"""

from __future__ import annotations

import functools
import threading
import types
import typing
import weakref
from collections import ChainMap
from typing import Any

import cloudpickle

from bsbpool.by_name import LruCache

_DISPATCHER_CODE = functools.singledispatch(lambda _: None).__code__  # type: ignore[attr-defined]


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of cloudpickle with the reducers of this module."""

    def reducer_override(self, obj: Any) -> Any:
        """Return the reduced value of a class, a function or an object made by a decorator."""
        if isinstance(obj, type):
            return reduce_class(self, obj)
        reduced = reduce_decorated(obj)
        return super().reducer_override(obj) if reduced is None else reduced


# Code


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    make, args = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _make_code, (code.co_filename, make, *args)


def _make_code(filename: str, make: Any, *args: Any) -> Any:
    return make(*args).replace(co_filename=filename)


Pickler.dispatch_table = ChainMap(
    {types.CodeType: _reduce_code}, *cloudpickle.Pickler.dispatch_table.maps
)


# Classes


def reduce_class(pickler: cloudpickle.Pickler, kind: type, anew: bool = False) -> Any:
    """Return cloudpickle's reduced value of a class, extended to slots and all kinds of bases.

    Parameters
    ----------
    pickler : cloudpickle.Pickler
        The pickler that pickles the class.
    kind : type
        The class.
    anew : bool
        Whether each unpickling makes a new class instead of sharing one. In this process all of
        them unpickle as `kind`.
    """
    reduced = cloudpickle.Pickler.reducer_override(pickler, kind)
    if not isinstance(reduced, tuple) or reduced[0] not in _MAKERS:
        return reduced
    make, args, state, *_ = reduced
    if make is cloudpickle.cloudpickle._make_skeleton_class:
        args, state = _with_slots(kind, args, state)
    return _make_class, (anew, make, *args), state, None, None, _fill_class


_MAKERS = (
    cloudpickle.cloudpickle._make_skeleton_class,
    cloudpickle.cloudpickle._make_skeleton_enum,
)


def _with_slots(kind: type, args: Any, state: Any) -> tuple[Any, Any]:
    (meta, name, bases, names, *rest), (members, slot_state) = args, state
    bases = tuple(base for base in bases if base is not _NoInitSubclass)
    names = {**names, "__qualname__": kind.__qualname__}
    if "__slots__" in members and typing.NamedTuple not in vars(kind).get("__orig_bases__", ()):
        # Slots must exist when the class is created; they cannot be added to it later.
        names = {**names, "__slots__": _slots_of(kind)}
        members = {
            name: value
            for name, value in members.items()
            if not isinstance(value, types.MemberDescriptorType)
        }
    return (meta, name, bases, names, *rest), (members, slot_state)


def _slots_of(kind: type) -> tuple[str, ...]:
    """Return the slots that the class itself defines, with private names mangled."""
    return tuple(
        name
        for name, value in vars(kind).items()
        if isinstance(value, types.MemberDescriptorType) or name in ("__dict__", "__weakref__")
    )


class _NoInitSubclass:
    """A base class that skips `__init_subclass__` of other bases for classes without attributes."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not getattr(cls, "_bsbpool_is_empty", False):
            super().__init_subclass__(**kwargs)


_received: weakref.WeakSet[type] = weakref.WeakSet()
"""The classes that this process unpickled by value."""


def _make_class(anew: bool, make: Any, *args: Any) -> Any:
    """Return the known class of a key, or make a class without attributes."""
    *rest, key, extra = args
    by_key = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
    known = None if anew else by_key.get(key)
    if known is not None:
        bases = rest[0] if make is cloudpickle.cloudpickle._make_skeleton_enum else rest[2]
        if known not in _received or _has_bases(known, bases):
            return known
        del by_key[key]  # a base is a new class by now, and the bases of a class are fixed
    made = _make_empty(make, *rest, None if anew else key, extra)
    if key is not None:  # sent with the class if this process pickles it
        cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS[made] = key
    _received.add(made)
    return made


def _has_bases(kind: type, bases: tuple[Any, ...]) -> bool:
    present = tuple(base for base in kind.__bases__ if base is not _NoInitSubclass)
    return present == types.resolve_bases(bases)


def _make_empty(make: Any, *args: Any) -> Any:
    try:
        return make(*args)
    except Exception:
        if make is not cloudpickle.cloudpickle._make_skeleton_class:
            raise
        # `__init_subclass__` ran where the class was defined; the pickle has its changes.
        kind, name, bases, names, *rest = args
        names = {**names, "_bsbpool_is_empty": True}
        made = make(kind, name, (_NoInitSubclass, *bases), names, *rest)
        del made._bsbpool_is_empty
        return made


def _fill_class(kind: type, state: Any) -> type:
    """Set the attributes of a class; a class that was defined in this process keeps its own."""
    if kind in _received:
        cloudpickle.cloudpickle._class_setstate(kind, state)
    return kind


# Decorated functions and methods


def reduce_decorated(obj: Any) -> tuple[Any, ...] | None:
    """Return the reduced value of an object that a decorator made; None for other objects.

    Decorators of other modules set the attribute `reduce_by_value` of their functions. It is
    called with the function and returns the reduced value, or None.
    """
    if isinstance(obj, types.FunctionType):
        if "reduce_by_value" in obj.__dict__:
            return obj.reduce_by_value(obj)  # type: ignore[attr-defined,no-any-return]
        return _reduce_dispatcher(obj) if obj.__code__ is _DISPATCHER_CODE else None
    if isinstance(obj, LruCache):
        return _make_cached_function, (obj.__wrapped__, obj.cache_parameters()), _extra(obj)
    if isinstance(obj, functools.cached_property):
        state = {name: value for name, value in vars(obj).items() if name != "lock"}
        return _make_cached_property, (type(obj), hasattr(obj, "lock")), state
    if isinstance(obj, functools.singledispatchmethod):
        registered = list(obj.dispatcher.registry.items())
        make = _make_dispatching_method, (type(obj), obj.func)
        return (*make, registered, None, None, _register)
    return None


def _extra(wrapper: Any) -> dict[str, Any]:
    """Return the attributes of a cached function that the decorator does not set."""
    set_by_decorator = ("__wrapped__", "cache_parameters")
    return {name: value for name, value in vars(wrapper).items() if name not in set_by_decorator}


def _make_cached_function(function: Any, parameters: dict[str, Any]) -> Any:
    """Make a cached function with an empty cache."""
    return functools.lru_cache(**parameters)(function)


def _make_cached_property(kind: Any, locked: bool) -> Any:
    made: Any = kind.__new__(kind)
    if locked:  # before Python 3.12
        made.lock = threading.RLock()
    return made


def _make_dispatching_method(kind: Any, function: Any) -> Any:
    made: Any = kind.__new__(kind)
    functools.singledispatchmethod.__init__(made, function)
    return made


def _reduce_dispatcher(function: Any) -> tuple[Any, ...]:
    registered = list(function.registry.items())
    return functools.singledispatch, (function.__wrapped__,), registered, None, None, _register


def _register(dispatching: Any, registered: list[tuple[type, Any]]) -> None:
    # `register` of a singledispatchmethod would treat a class method as an annotated function.
    register = getattr(dispatching, "dispatcher", dispatching).register
    for kind, function in registered:
        register(kind, function)
