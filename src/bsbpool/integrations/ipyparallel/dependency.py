"""Dependencies between tasks, and conditions of functions for the engine that runs them."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from bsbpool.integrations.ipyparallel._pickling import namespace_here
from bsbpool.integrations.ipyparallel.error import UnmetDependency
from bsbpool.naming import brief


class Dependency(set[str]):
    """A set of tasks that must have ended before another one begins.

    Parameters
    ----------
    dependencies : str, AsyncResult, or iterable of them
        The tasks.
    all : bool
        Whether all of them must have ended, rather than one.
    success, failure : bool
        Whether a task that has succeeded, or failed, counts as one that has ended.

    Raises
    ------
    ValueError
        When neither success nor failure counts.
    """

    def __init__(
        self,
        dependencies: Any = (),
        all: bool = True,
        success: bool = True,
        failure: bool = False,
    ) -> None:
        if not success and not failure:
            raise ValueError("success and failure must not both be False: nothing could be met")
        super().__init__(ids_of(dependencies))
        self.all, self.success, self.failure = all, success, failure

    def __reduce__(self) -> Any:
        return type(self), (list(self), self.all, self.success, self.failure)

    def check(self, completed: Iterable[str], failed: Iterable[str] | None = None) -> bool:
        """Return whether the dependency is met, given the tasks that have succeeded and failed."""
        if not self:
            return True
        ended = self._counted(self.success, completed, self.failure, failed)
        return self <= ended if self.all else not self.isdisjoint(ended)

    def unreachable(self, completed: Iterable[str], failed: Iterable[str] | None = None) -> bool:
        """Return whether the dependency can not be met any more."""
        if not self:
            return False
        against = self._counted(not self.success, completed, not self.failure, failed)
        return not self.isdisjoint(against) if self.all else self <= against

    @staticmethod
    def _counted(
        success: bool, completed: Iterable[str], failure: bool, failed: Iterable[str] | None
    ) -> set[str]:
        found: set[str] = set()
        if success:
            found |= set(completed)
        if failure and failed is not None:
            found |= set(failed)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters."""
        return {
            "all": self.all,
            "success": self.success,
            "failure": self.failure,
            "dependencies": list(self),
        }


def ids_of(tasks: Any) -> list[str]:
    """Return the ids of tasks that are given as ids, results, or iterables of them."""
    if tasks is None:
        return []
    if isinstance(tasks, str):
        return [tasks]
    if hasattr(tasks, "msg_ids"):
        return list(tasks.msg_ids)
    if not hasattr(tasks, "__iter__"):
        raise TypeError(
            f"a dependency must be a msg_id, an AsyncResult, or a list of them, got {brief(tasks)}"
        )
    return [id for task in tasks for id in ids_of(task)]


class dependent:
    """A function with a condition for the engine that runs it.

    Parameters
    ----------
    func : callable
        The function.
    df : callable
        Called before the function, on the engine. If it returns False, or raises
        `UnmetDependency`, another engine is tried.
    *dargs, **dkwargs : object
        The arguments of `df`.
    """

    def __init__(self, _func_: Any, _df_: Any, *dargs: Any, **dkwargs: Any) -> None:
        self.func, self.df = _func_, _df_
        self.dargs, self.dkwargs = dargs, dkwargs
        functools.update_wrapper(self, _func_, updated=())

    def __reduce__(self) -> Any:
        return _make_dependent, (self.func, self.df, self.dargs, self.dkwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check the condition, then call the function."""
        if self.df(*self.dargs, **self.dkwargs) is False:
            raise UnmetDependency(f"{getattr(self.df, '__name__', self.df)}() returned False")
        return self.func(*args, **kwargs)


def _make_dependent(func: Any, df: Any, dargs: Any, dkwargs: Any) -> dependent:
    return dependent(func, df, *dargs, **dkwargs)


def depend(_wrapped_f_: Any, *args: Any, **kwargs: Any) -> Callable[[Any], dependent]:
    """Let a function run only on engines where a condition holds.

    Parameters
    ----------
    f : callable
        Called as ``f(*args, **kwargs)`` on an engine before the function. If it returns False, or
        raises `UnmetDependency`, another engine is tried.
    """
    return lambda function: dependent(function, _wrapped_f_, *args, **kwargs)


def require(*objects: Any, **mapping: Any) -> Callable[[Any], dependent]:
    """Let a function run only on engines that can import modules; also put objects there.

    Parameters
    ----------
    *objects : str, module or function
        Modules to import. Functions and classes become globals of the engine under their names.
    **mapping : object
        Objects that become globals of the engine under these names.
    """
    names: list[str] = []
    for item in objects:
        if isinstance(item, (str, types.ModuleType)):
            names.append(item if isinstance(item, str) else item.__name__)
        elif hasattr(item, "__name__"):
            mapping.setdefault(item.__name__, item)
        else:
            raise TypeError(
                f"require() takes modules, functions and names of modules, got {brief(item)}; use "
                "a keyword for other objects"
            )
    return depend(_provide, *names, **mapping)


def _provide(*names: str, **objects: Any) -> bool:
    namespace = namespace_here()
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise UnmetDependency(f"cannot import {name}: {error}") from error
        top = name.partition(".")[0]
        namespace[top] = importlib.import_module(top) if top != name else module
    namespace.update(objects)
    return True


def interactive(f: Any) -> Any:
    """Let a function run with the namespace of the engine as its globals; here with `__main__`."""
    if isinstance(f, types.FunctionType):
        main = vars(sys.modules["__main__"])
        made = types.FunctionType(f.__code__, main, f.__name__, f.__defaults__, f.__closure__)
        made.__kwdefaults__ = f.__kwdefaults__
        made.__dict__.update(f.__dict__)
        f = made
    f.__module__ = "__main__"
    return f
