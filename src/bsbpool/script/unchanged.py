"""A quick check whether a value has changed, by the identity of its parts.

`nodes_of` lists the functions, classes and builtin containers in a value, each with the objects
that it contains. The value is unchanged while each contains the same objects. Values with parts of
other types have no such list: only a comparison of pickles shows whether they have changed.
"""

from __future__ import annotations

import dataclasses
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

from bsbpool.by_name import LruCache, is_importable

IMMUTABLE = frozenset(
    [type(None), bool, int, float, complex, str, bytes, range, object, type(...),
     type(NotImplemented)]
)  # fmt: skip
"""Types whose instances never change."""
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
"""Types of class attributes whose instances are not changed after their creation."""
MOST_NODES = 300
"""Maximum number of nodes; pickling larger values is as fast as the check."""

Objects = tuple[Any, ...]
Node = tuple[Any, Callable[[Any], Objects], Objects]
"""An object, a function that returns its content, and its content at the time of the list."""

_EMPTY = object()


def nodes_of(value: Any) -> list[Node] | None:
    """Return the nodes of a value; None if it has parts of other types or too many parts."""
    nodes: list[Node] = []
    return nodes if _walk(value, nodes, set()) else None


def are_unchanged(nodes: list[Node]) -> bool:
    """Whether each node has the same content as when it was listed."""
    for obj, content_of, content in nodes:
        now = content_of(obj)
        if len(now) != len(content) or not all(map(operator.is_, now, content)):
            return False
    return True


def _walk(value: Any, nodes: list[Node], seen: set[int]) -> bool:
    kind = type(value)
    if kind in IMMUTABLE or id(value) in seen:
        return True
    if len(nodes) > MOST_NODES or len(seen) > 4 * MOST_NODES:
        return False
    seen.add(id(value))
    content_of = _CONTENT.get(kind)
    if content_of is not None:
        content = content_of(value)
        if kind not in FROZEN:
            nodes.append((value, content_of, content))
    elif isinstance(value, type):
        if "_abc_impl" in vars(value):
            return False  # `ABCMeta.register` changes no attribute
        content = _of_class(value)
        nodes.append((value, _of_class, content))
    else:
        return _is_fixed(value, kind)
    return all([_walk(part, nodes, seen) for part in content])


def _is_fixed(value: Any, kind: type) -> bool:
    if kind is types.ModuleType:
        return sys.modules.get(value.__name__) is value
    if kind is types.BuiltinFunctionType:
        return isinstance(value.__self__, types.ModuleType)
    return isinstance(value, FIXED) or kind.__module__ == "typing"


def _of_dict(value: dict[Any, Any]) -> Objects:
    return (*value, *value.values())


def _of_function(function: types.FunctionType) -> Objects:
    if function.__module__ != "__main__" and is_importable(function):
        return ()  # pickled by name
    content: Objects = (function.__code__, function.__defaults__, function.__kwdefaults__)
    if function.__dict__:
        content += (*function.__dict__, *function.__dict__.values())
    if function.__closure__ is None:
        return content
    return (*content, *map(_of_cell, function.__closure__))


def _of_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _of_class(kind: type) -> Objects:
    if kind.__module__ != "__main__" and is_importable(kind):
        return ()
    attributes = vars(kind)
    return (kind.__bases__, *attributes, *attributes.values())


_CONTENT: dict[type, Callable[[Any], Objects]] = {
    tuple: tuple,
    frozenset: tuple,
    list: tuple,
    set: tuple,
    dict: _of_dict,
    types.FunctionType: _of_function,
    types.CodeType: lambda code: (),
    staticmethod: lambda method: (method.__func__,),
    classmethod: lambda method: (method.__func__,),
    types.MethodType: lambda method: (method.__func__, method.__self__),
    property: lambda attribute: (attribute.fget, attribute.fset, attribute.fdel),
    LruCache: lambda function: (function.__wrapped__,),
}
FROZEN = frozenset(_CONTENT) - {list, set, dict, types.FunctionType}
"""Types whose instances always have the same content."""
