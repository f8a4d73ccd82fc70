"""Pickles for workers that have not run the script.

Functions and classes of the script are pickled as the name of their global, and the worker looks
the name up among the globals that were sent for the call. Everything else is pickled as
`bsbpool.functions_by_value` does it.
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
"""Types of globals that other values never refer to by their name."""


def script_names() -> dict[str, Any]:
    """Return the namespace of the script, in the process that runs it."""
    return sys.modules["__main__"].__dict__


def is_definition(obj: Any) -> bool:
    """Whether an object is a function, a class or a marker (an `object()`), without a state."""
    if isinstance(obj, (types.FunctionType, type)) or type(obj) is object:
        return True
    if isinstance(obj, (types.MethodType, types.BuiltinFunctionType)):
        return False
    named = isinstance(attribute(obj, "__qualname__"), str)  # as what functools.wraps makes
    return named and attribute(obj, "__module__") == "__main__"


def ids_of(names: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of globals by the id of their value; the first of several."""
    found: dict[int, str] = {}
    for name, value in list(names.items()):
        if type(value) not in NEVER_NAMED and not name.startswith("__"):
            found.setdefault(id(value), name)
    return found


class ScriptPickler(Pickler):
    """Pickles with references to the script's globals.

    Parameters
    ----------
    file : file
        What to write to.
    names : mapping of str to object
        The globals that can be referred to.
    ids : mapping of int to str
        The same, by the id of the value.
    whole : collection of int
        The ids of globals to pickle by value.
    values : bool
        Whether values with a state become references as well: True inside of other globals,
        False for arguments, which are copied.
    arguments : bool
        Whether each call unpickles this. Then a class that is not a global is one class for all
        calls, as with cloudpickle: each pickle sets its attributes again.
    buffer_callback : callable, optional
        As of `pickle.Pickler`.

    Attributes
    ----------
    references : set of str
        The globals referred to.
    mentioned : set of str
        The global names in the code of functions that were pickled by value.
    unnamed : list of object
        Classes and markers that were pickled by value, since they are no globals.
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
        """Say how to pickle an object that pickle does not know by itself."""
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
            return None  # the pickle of a class leaves out functions that a base has as well
        first, _, path = obj.__qualname__.partition(".")
        owner = self._names.get(first)
        if not path or not isinstance(owner, type) or id(owner) in self._whole:
            return None
        return (attribute_of, (owner, path)) if find_attribute(owner, path) is obj else None


def _is_of_script(obj: Any) -> bool:
    return attribute(obj, "__module__") == "__main__" and is_importable(obj)
