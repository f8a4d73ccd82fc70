"""Functions, classes and bound methods that another rank can find by name."""

from __future__ import annotations

import functools
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from bsbpool.naming import attribute, brief

LruCache: Any = type(functools.lru_cache(lambda: None))
"""The type of functions decorated with `functools.lru_cache`."""
BOUND_TYPES = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
"""Types of bound methods; pickle refers to them as an attribute of their object."""
NAMED_TYPES = (types.FunctionType, type, LruCache, *BOUND_TYPES)
"""Types whose ``__qualname__`` is read. On other types, reading it may run user code."""

_main_is_shared = True


def main_is_shared() -> bool:
    """Whether all ranks run the same main script, so that its names exist on all of them."""
    return _main_is_shared


def main_runs_alone() -> None:
    """Record that the other ranks do not run the main script; see `bsbpool.script`."""
    global _main_is_shared
    _main_is_shared = False


def is_importable(obj: Any) -> bool:
    """Whether the module of an object has it under its qualified name."""
    name, home = attribute(obj, "__qualname__"), attribute(obj, "__module__")
    found: Any = sys.modules.get(home) if isinstance(home, str) else None
    if not isinstance(name, str) or found is None:
        return False
    return find_attribute(found, name) is obj


def find_attribute(obj: Any, path: str) -> Any:
    """Return the attribute at a dotted path; None if one of its parts is missing."""
    for part in path.split("."):
        obj = getattr(obj, part, None)
    return obj


def reduce_bound(bound: Any) -> str | tuple[Any, ...]:
    """Return the reduced value of a bound method, from which the same method is loaded.

    pickle refers to a method by its ``__name__``. That name is missing, or belongs to another
    attribute, for private methods, methods decorated without `functools.wraps`, lambdas, and
    methods that a subclass overrides.

    Raises
    ------
    pickle.PicklingError
        If a method of a builtin type cannot be found.
    """
    owner = bound.__self__
    if owner is None or isinstance(owner, types.ModuleType):  # a plain builtin function
        return bound.__reduce__()  # type: ignore[no-any-return]
    for name in _names_of(bound):
        if _gives(owner, name, bound):
            return getattr, (owner, name)
    if isinstance(bound, types.MethodType):
        return types.MethodType, (bound.__func__, owner)
    for kind in type(owner).__mro__:
        descriptor = vars(kind).get(bound.__name__)
        with suppress(Exception):
            if _are_same(descriptor.__get__(owner), bound):  # type: ignore[union-attr]
                return _bind, (descriptor, owner)
    raise pickle.PicklingError(f"{brief(bound)} is not an attribute of the object it is bound to")


def _names_of(bound: Any) -> Iterator[str]:
    """Yield the names of attributes that may give a bound method."""
    name = getattr(bound, "__name__", None)
    if isinstance(name, str):
        yield name
    function = getattr(bound, "__func__", None)
    owner = bound.__self__
    kinds = type(owner).__mro__
    if isinstance(owner, type):  # a class method, or a method of its metaclass
        kinds = owner.__mro__ + kinds
    for kind in kinds:
        for name, value in vars(kind).items():
            if function is not None and function in (value, getattr(value, "__func__", None)):
                yield name


def _gives(owner: Any, name: str, bound: Any) -> bool:
    try:
        found = getattr(owner, name)
    except Exception:  # user code may run
        return False
    return _are_same(found, bound)


def _are_same(found: Any, bound: Any) -> bool:
    return type(found) is type(bound) and bool(found == bound)


def _bind(descriptor: Any, owner: Any) -> Any:
    return descriptor.__get__(owner)
