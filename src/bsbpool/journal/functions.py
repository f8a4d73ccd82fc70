"""What a function is for keys of jobs: its name, its code, and the values that are bound to it.

The code has no line numbers and no names of files, so that moving a function makes no other job of
its calls. Functions that it calls are not part of it: after such a change use `key_version`.
"""

from __future__ import annotations

import functools
import threading
import types
from typing import Any

from bsbpool._core.jobs.handle import OptionedFunction

_CONSTANTS = (int, float, str, bytes, bool, complex, type(None), type(...))
_DESCRIPTORS = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_CACHED = type(functools.cache(lambda: None))
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
    """Describes functions by values that have digests."""

    def __init__(self) -> None:
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
            methods = {name: m for name, m in vars(f).items() if isinstance(m, types.FunctionType)}
            bound = {
                name: m.__func__
                for name, m in vars(f).items()
                if isinstance(m, (staticmethod, classmethod))
            }
            return ("callee", name_of_class(f), methods, bound), True
        if isinstance(f, types.FunctionType):
            values = (f.__defaults__ or (), tuple((f.__kwdefaults__ or {}).values()))
            constant = all(isinstance(v, _CONSTANTS) for group in values for v in group)
            return self.of_argument(f), f.__closure__ is not None or not constant
        if self.is_function(f):
            return self.of_argument(f), not isinstance(f, types.BuiltinFunctionType)
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
        owner = f.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return "builtin", getattr(f, "__module__", None), f.__qualname__
        return "builtin method", f.__name__, owner

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


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is not bound yet
        return _EMPTY
