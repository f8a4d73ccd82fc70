"""Pickling for workers that do not run the script.

Functions and classes of the script are pickled as references to globals, which the worker looks up
among the globals that it received for the call. Other objects are pickled by
`bsbpool.functions_by_value`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Mapping
from typing import Any

from bsbpool.by_name import LruCache, find_attribute, is_importable
from bsbpool.classes_by_value import reduce_decorated
from bsbpool.functions_by_value import Pickler
from bsbpool.naming import attribute
from bsbpool.script.by_value import class_by_value
from bsbpool.script.names import global_names
from bsbpool.script.namespace import attribute_of, function_over, global_of_script
from bsbpool.script.unchanged import IMMUTABLE

NEVER_NAMED = IMMUTABLE - {object} | {tuple, frozenset, types.ModuleType}
"""Types of globals that are never pickled as references."""


def script_names() -> dict[str, Any]:
    """Return the namespace of the script, in the process that runs it."""
    return sys.modules["__main__"].__dict__


def is_definition(obj: Any) -> bool:
    """Whether an object is a function, a class or a sentinel (an `object()`), all without state."""
    if isinstance(obj, (types.FunctionType, type)) or type(obj) is object:
        return True
    if isinstance(obj, (types.MethodType, types.BuiltinFunctionType)):
        return False
    named = isinstance(attribute(obj, "__qualname__"), str)  # for example with functools.wraps
    return named and attribute(obj, "__module__") == "__main__"


def ids_of(names: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of globals by the id of their value; for several names, the first."""
    found: dict[int, str] = {}
    for name, value in list(names.items()):
        if type(value) not in NEVER_NAMED and not name.startswith("__"):
            found.setdefault(id(value), name)
    return found


class ScriptPickler(Pickler):
    """Pickles objects with references to the globals of the script.

    Parameters
    ----------
    file : file
        The file to write to.
    names : mapping of str to object
        The globals that can be referred to.
    ids : mapping of int to str
        The names of the same globals, by the id of the value.
    whole : collection of int
        The ids of globals to pickle by value.
    values : bool
        Whether objects with state become references as well: True inside other globals, False for
        arguments, which are copied.
    arguments : bool
        Whether each call unpickles the pickle. If so, a class that is not a global is one class
        for all calls, as with cloudpickle: unpickling sets its attributes again.
    buffer_callback : callable, optional
        As of `pickle.Pickler`.

    Attributes
    ----------
    references : set of str
        The globals referred to.
    mentioned : set of str
        The global names in the code of functions that were pickled by value.
    unnamed : list of object
        Classes and sentinels that were pickled by value, since they are not globals.
    """

    def __init__(
        self,
        file: Any,
        names: Mapping[str, Any],
        ids: Mapping[int, str],
        whole: Collection[int] = (),
        values: bool = False,
        arguments: bool = False,
        buffer_callback: Any = None,
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self._names, self._ids, self._whole = names, ids, whole
        self._values, self._arguments = values, arguments
        self._script = script_names()
        self.references: set[str] = set()
        self.mentioned: set[str] = set()
        self.unnamed: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        """Return the reduced value of an object that `pickle` does not handle itself."""
        if id(obj) not in self._whole:
            name = self._ids.get(id(obj))
            if name is not None and self._is_reference(obj):
                self.references.add(name)
                return global_of_script, (name,)
            if (inside := self._inside(obj)) is not None:
                return inside
            if type(obj) is object or (isinstance(obj, type) and obj.__module__ == "__main__"):
                self.unnamed.append(obj)
        by_value = id(obj) in self._whole or _is_of_script(obj)
        if isinstance(obj, types.FunctionType) and (by_value or not is_importable(obj)):
            return self._function(obj)
        new = by_value or not self._arguments
        if new and isinstance(obj, type) and obj.__module__ == "__main__":
            return class_by_value(self, obj)
        if by_value and isinstance(obj, LruCache) and obj.__module__ == "__main__":
            return reduce_decorated(obj)
        return super().reducer_override(obj)

    def _function(self, function: types.FunctionType) -> Any:
        if function.__globals__ is self._script:
            self.mentioned |= global_names(function.__code__)
        elif function.__module__ != "__main__" and is_importable(function):
            return NotImplemented
        decorated = reduce_decorated(function)
        if decorated is not None:
            return decorated
        reduced = self._dynamic_function_reduce(function)
        name = function.__globals__.get("__name__", "")
        home = sys.modules.get(name)
        if getattr(home, "__dict__", None) is not function.__globals__:
            return reduced
        if name != "__main__" and getattr(home, "__spec__", None) is None:
            return reduced  # workers cannot import it
        _, (code, _, *rest), (state, slots), *others = reduced
        slots["__globals__"] = {}
        return (function_over, (name, code, *rest), (state, slots), *others)

    def _is_reference(self, obj: Any) -> bool:
        if not self._values and not is_definition(obj):
            return False
        return attribute(obj, "__module__") == "__main__" or not is_importable(obj)

    def _inside(self, obj: Any) -> Any:
        """Return a reference to an attribute of a class that is a global, or None."""
        if not isinstance(obj, (types.FunctionType, type)) or obj.__module__ != "__main__":
            return None
        if self._values and not isinstance(obj, type):
            return None  # the function may belong to a base of the class as well
        first, _, path = obj.__qualname__.partition(".")
        owner = self._names.get(first)
        if not path or not isinstance(owner, type) or id(owner) in self._whole:
            return None
        return (attribute_of, (owner, path)) if find_attribute(owner, path) is obj else None


def _is_of_script(obj: Any) -> bool:
    return attribute(obj, "__module__") == "__main__" and is_importable(obj)
