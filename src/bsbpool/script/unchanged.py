"""A quick way to tell that a value is what it was: the same objects, all the way down.

`parts_of` lists the objects that a value is made of, as far as it is made of immutable values,
functions, classes and small builtin containers. While the list names the same objects, the value
has not changed. For other values there is no list, and only their pickle tells.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
import types
from collections.abc import Iterable
from typing import Any

from bsbpool.functions_by_value import is_importable

IMMUTABLE = frozenset(
    [type(None), bool, int, float, complex, str, bytes, range, object, type(...),
     type(NotImplemented)]
)  # fmt: skip
"""Types whose objects never change."""
FIXED = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.GenericAlias,
    types.UnionType,
    dataclasses.Field,
    type(getattr(dataclasses.make_dataclass("_", ()), "__dataclass_params__")),  # noqa: B009
)
"""Types of attributes of classes whose objects are not changed once they are made."""
CACHED: Any = type(functools.lru_cache(lambda: None))
"""The type of functions with a cache."""
MOST_PARTS = 1_000
"""For values with more parts the pickle is as quick."""

_END, _EMPTY = object(), object()


def parts_of(value: Any) -> list[Any] | None:
    """Return the objects that a value is made of; None when they do not tell all."""
    parts: list[Any] = []
    return parts if _walk(value, parts, set()) else None


def are_same(parts: list[Any] | None, others: list[Any] | None) -> bool:
    """Whether two lists of parts name the same objects."""
    if parts is None or others is None or len(parts) != len(others):
        return False
    return all(map(operator.is_, parts, others))


def _walk(value: Any, parts: list[Any], seen: set[int]) -> bool:
    parts.append(value)
    kind = type(value)
    if kind in IMMUTABLE or id(value) in seen:
        return True
    if len(parts) > MOST_PARTS:
        return False
    seen.add(id(value))
    inner = _inner(value, kind)
    if inner is None or not all([_walk(part, parts, seen) for part in inner]):
        return False
    parts.append(_END)  # or [[a], b] and [[a, b]] would look alike
    return True


def _inner(value: Any, kind: type) -> Iterable[Any] | None:
    """Return what a value is made of; None when that cannot be told."""
    if kind in (tuple, list, set, frozenset):
        return list(value)
    if kind is dict:
        return [part for item in value.items() for part in item]
    if kind is types.FunctionType:
        return _of_function(value)
    if isinstance(value, type):
        return _of_class(value)
    if kind in (staticmethod, classmethod, types.MethodType):
        return [value.__func__, getattr(value, "__self__", None)]
    if kind is property:
        return [value.fget, value.fset, value.fdel]
    if kind is CACHED:
        return [value.__wrapped__]
    if kind is types.CodeType:
        return ()
    if kind is types.ModuleType:
        return () if sys.modules.get(value.__name__) is value else None
    if kind is types.BuiltinFunctionType:
        return () if isinstance(value.__self__, types.ModuleType) else None
    return () if isinstance(value, FIXED) or kind.__module__ == "typing" else None


def _of_function(function: types.FunctionType) -> Iterable[Any]:
    if function.__module__ != "__main__" and is_importable(function):
        return ()  # it travels by its name
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [
        function.__code__, function.__defaults__, function.__kwdefaults__, function.__dict__, *cells
    ]  # fmt: skip


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _of_class(kind: type) -> Iterable[Any] | None:
    if kind.__module__ != "__main__" and is_importable(kind):
        return ()
    if "_abc_impl" in vars(kind):
        return None  # `register` leaves no trace in its attributes
    return [kind.__bases__, *(part for item in vars(kind).items() for part in item)]
