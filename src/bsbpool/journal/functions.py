"""What a function is for keys of jobs: its name, its code, and the values that are bound to it.

The code has no line numbers and no names of files, so that moving a function makes no other job of
its calls. Functions that it calls are not part of it: after such a change use `key_version`.
"""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable
from typing import Any

from bsbpool._core.jobs.handle import OptionedFunction

_CONSTANTS = (int, float, str, bytes, bool, complex, type(None), type(...))
_DESCRIPTORS = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_CACHED = type(functools.cache(lambda: None))
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class is none of those that C code defines
_EMPTY = "an empty cell"
_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    *_DESCRIPTORS,
    functools.partial,
    _CACHED,
    OptionedFunction,
    type,
)


def name_of_class(kind: type) -> str:
    """Return the full name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


class _InProgress(threading.local):
    """The functions that a thread describes: any thread may queue jobs."""

    def __init__(self) -> None:
        self.functions: list[Any] = []


class Descriptions:
    """Describes functions by values that have digests.

    Parameters
    ----------
    digest : callable
        Returns the digest of a value; TypeError if it has none.
    """

    def __init__(self, digest: Callable[[Any], bytes]) -> None:
        self._digest = digest
        self._in_progress = _InProgress()
        self._codes: dict[int, tuple[types.CodeType, Any]] = {}

    @staticmethod
    def is_function(value: Any) -> bool:
        """Whether an argument is a function or a class."""
        return isinstance(value, _FUNCTIONS)

    def of_callee(self, f: Any) -> tuple[Any, bool]:
        """Return what stands for the function of a job, and whether that can change."""
        if isinstance(f, OptionedFunction):
            return self.of_callee(f.function)
        if isinstance(f, type):
            return self._of_class(f), True
        if isinstance(f, types.FunctionType):
            values = (f.__defaults__ or (), tuple((f.__kwdefaults__ or {}).values()))
            constant = all(isinstance(v, _CONSTANTS) for group in values for v in group)
            return self.of_argument(f), f.__closure__ is not None or not constant
        if isinstance(f, functools.partial):
            return ("partial", self.of_callee(f.func)[0], f.args, f.keywords), True
        if isinstance(f, types.MethodType) and isinstance(f.__self__, type):
            return ("method", f.__func__, self._of_class(f.__self__)), True
        if self.is_function(f):
            return self.of_argument(f), not _is_of_module(f)
        call = next((vars(c)["__call__"] for c in type(f).__mro__ if "__call__" in vars(c)), None)
        if isinstance(call, types.FunctionType):
            return ("callable", call, f), True
        return f, True  # has a digest, or the error names it

    def of_argument(self, f: Any) -> Any:
        """Return what stands for a function, or for a class, in keys."""
        for i, other in enumerate(self._in_progress.functions):
            if f is other:
                return "recursion", i
        if isinstance(f, OptionedFunction):
            return self.of_argument(f.function)
        if isinstance(f, type):
            return "class", name_of_class(f)
        if isinstance(f, types.FunctionType):
            return self._of_python_function(f)
        if isinstance(f, types.MethodType):
            return "method", f.__func__, f.__self__
        if isinstance(f, functools.partial):
            return "partial", f.func, f.args, f.keywords
        if isinstance(f, _CACHED):
            return "cached", f.__wrapped__
        if isinstance(f, _DESCRIPTORS):
            return "descriptor", name_of_class(f.__objclass__), f.__name__
        if _is_of_module(f):
            return "builtin", getattr(f, "__module__", None), f.__qualname__
        return "builtin method", f.__name__, f.__self__

    def _of_class(self, cls: type) -> Any:
        """Return what stands for a class that is called: what it and its bases define."""
        bases = [base for base in cls.__mro__ if not _is_of_library(base)]
        return "callee", name_of_class(cls), [
            (name_of_class(base), self._of_members(base, is_base=base is not cls))
            for base in bases
        ]  # fmt: skip

    def _of_members(self, cls: type, is_base: bool) -> dict[str, bytes]:
        """Return the digests of the methods, properties and attributes of a class.

        An attribute without a digest is left out. A method without one is an error; in a base,
        which can be that of a library, its code stands for it.
        """
        found = {}
        for name, value in list(vars(cls).items()):
            method = _function_of(value)
            if method is None and name.startswith("__") and name.endswith("__"):
                continue  # data that Python itself makes
            try:
                found[name] = self._digest(value if method is None else method)
            except TypeError:
                if method is None:
                    continue
                if not is_base:
                    raise
                if isinstance(value, types.FunctionType):
                    found[name] = self._digest(self._of_code(value.__code__))
        return found

    def _of_python_function(self, f: types.FunctionType) -> Any:
        cells = [_contents(cell) for cell in f.__closure__ or ()]
        parts = [
            "function", f.__module__, f.__qualname__, self._of_code(f.__code__), f.__defaults__,
            f.__kwdefaults__,
        ]  # fmt: skip
        if not cells and not f.__defaults__ and not f.__kwdefaults__:
            return tuple(parts)
        # A function can be in its own closure, so the values are described here, one by one.
        self._in_progress.functions.append(f)
        try:
            return (*parts, [self._of_bound(value) for value in cells])
        finally:
            self._in_progress.functions.pop()

    def _of_bound(self, value: Any) -> Any:
        return self.of_argument(value) if isinstance(value, types.FunctionType) else value

    def _of_code(self, code: types.CodeType) -> Any:
        known = self._codes.get(id(code))
        if known is None or known[0] is not code:
            if len(self._codes) > 4096:
                self._codes.clear()
            known = code, self._describe_code(code)
            self._codes[id(code)] = known
        return known[1]

    def _describe_code(self, code: types.CodeType) -> Any:
        return (
            code.co_code,
            tuple(map(self._of_constant, code.co_consts)),
            code.co_names,
            code.co_varnames,
            code.co_freevars,
            code.co_cellvars,
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
            code.co_flags,
            getattr(code, "co_exceptiontable", b""),
        )

    def _of_constant(self, value: Any) -> Any:
        if isinstance(value, types.CodeType):
            return value.co_name, self._of_code(value)
        if isinstance(value, tuple):
            return tuple(map(self._of_constant, value))
        return value


def _is_of_module(f: Any) -> bool:
    """Whether a function is a builtin one of a module, which has no state."""
    if not isinstance(f, types.BuiltinFunctionType):
        return False
    owner = f.__self__
    return owner is None or isinstance(owner, types.ModuleType)


def _is_of_library(cls: type) -> bool:
    """Whether a class is that of an extension module or of this package."""
    return not cls.__flags__ & HEAP_TYPE or cls.__module__.partition(".")[0] == "bsbpool"


def _function_of(member: Any) -> Any:
    """Return what stands for a method or property of a class; None for other attributes."""
    if isinstance(member, types.FunctionType):
        return member
    if isinstance(member, (staticmethod, classmethod)):
        return type(member).__name__, member.__func__
    if isinstance(member, property):
        return "property", member.fget, member.fset, member.fdel
    if isinstance(member, functools.cached_property):
        return "cached property", member.func
    if isinstance(member, functools.partialmethod):
        return "partial method", member.func, member.args, member.keywords
    return None


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not bound yet
        return _EMPTY
