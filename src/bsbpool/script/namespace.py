"""The script's globals on a worker.

They live in the namespace of `__main__`. Each call brings the numbers of the units that it
needs. A unit is put in place unless it is there already, so what calls and initializers did to a
global stays until the script gives it another value.
"""

from __future__ import annotations

import builtins
import importlib
import operator
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from bsbpool.interrupts import Terminated
from bsbpool.naming import error_text
from bsbpool.serialization import loads

Buffers = list[Any]


def global_of_script(name: str) -> Any:
    """Return a global as the script sent it, for values that refer to it."""
    try:
        return namespace.objects[name]
    except KeyError:
        reason = namespace.missing.get(name, "it was not sent")
        raise pickle.UnpicklingError(f"it refers to the global {name!r}: {reason}") from None


def attribute_of(found: Any, path: str) -> Any:
    """Return an attribute of an attribute and so on, such as ``Outer.Inner``."""
    return operator.attrgetter(path)(found)


def function_over(module: str, code: types.CodeType, *rest: Any) -> types.FunctionType:
    """Make a function over the globals of a module."""
    return types.FunctionType(code, importlib.import_module(module).__dict__, *rest)


class ReceivedUnit:
    """Globals with the values that they had at some submission.

    Parameters
    ----------
    number : int
        Identifies the unit.
    names : tuple of str
        The globals: usually one.
    payload : bytes-like or None
        The pickle of a tuple of their values; None when they have none.
    reason : str or None
        Why they have no value here; None when the script has deleted them.
    needs : tuple of int
        The numbers of the units that the pickle refers to.
    """

    def __init__(
        self,
        number: int,
        names: tuple[str, ...],
        payload: Any,
        reason: str | None,
        needs: tuple[int, ...],
    ) -> None:
        self.number, self.names, self.needs = number, names, needs
        self.payload, self.reason = payload, reason


class Namespace:
    """The script's globals on a worker.

    Attributes
    ----------
    units : mapping of int to ReceivedUnit
        The units that main has sent and still uses.
    objects : dict of str to object
        The values as they were sent.
    missing : dict of str to str
        The globals of the script that have no value here, and the reasons.
    changes : int
        How often something was put in place.
    entered : object
        The call whose globals are in place; None if there is none.
    on_change : callable
        Called whenever something is put in place.
    """

    def __init__(self) -> None:
        self.units: weakref.WeakValueDictionary[int, ReceivedUnit] = weakref.WeakValueDictionary()
        self.objects: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.changes = 0
        self.entered: object = None
        self.on_change: Callable[[], object] = lambda: None
        self._current: dict[str, int] = {}
        self._put_at: dict[int, int] = {}  # units that are in place: the count of changes then
        self._made_of: dict[int, list[int]] = {}  # and those counts of the units that they need

    def receive(self, payload: Any, buffers: Buffers) -> ReceivedUnit:
        """Keep a unit for as long as the caller keeps what this returns."""
        unit = ReceivedUnit(*loads(payload, buffers))
        self.units[unit.number] = unit
        return unit

    def enter(self, units: list[ReceivedUnit]) -> None:
        """Put units in place; each comes after those that it refers to.

        Raises
        ------
        NameError
            When a builtin would be found in place of a global that has no value here.
        """
        self.entered = None
        for unit in units:
            if not self._is_in_place(unit):
                self._put(unit)
            if unit.reason is not None:
                self._check_builtins(unit)

    def _is_in_place(self, unit: ReceivedUnit) -> bool:
        current = self._current
        for name in unit.names:
            if current.get(name) != unit.number:
                return False
        if not unit.needs:
            return True
        # A class that was put in place again is a new object, so its subclasses must be made again.
        return self._made_of[unit.number] == [self._put_at[need] for need in unit.needs]

    def _put(self, unit: ReceivedUnit) -> None:
        self.changes += 1
        self.on_change()
        for name in unit.names:
            before = self._current.get(name, 0)
            self._put_at.pop(before, None)
            self._made_of.pop(before, None)
        self._put_at[unit.number] = self.changes
        self._made_of[unit.number] = [self._put_at[need] for need in unit.needs]
        for name in unit.names:
            self._current[name] = unit.number
            vars(sys.modules["__main__"]).pop(name, None)
            self.objects.pop(name, None)
            self.missing.pop(name, None)
        reason = unit.reason if unit.payload is None else self._load(unit)
        if reason is not None:
            unit.reason = reason
            self.missing.update(dict.fromkeys(unit.names, reason))

    def _load(self, unit: ReceivedUnit) -> str | None:
        """Unpickle the values of a unit; return why that fails."""
        try:
            values = dict(zip(unit.names, pickle.loads(unit.payload), strict=True))
        except Terminated:
            raise
        except BaseException as error:
            return f"it cannot be unpickled on the worker ({error_text(error)})"
        self.objects.update(values)
        vars(sys.modules["__main__"]).update(values)
        return None

    def _check_builtins(self, unit: ReceivedUnit) -> None:
        for name in unit.names:
            if hasattr(builtins, name) and name not in vars(sys.modules["__main__"]):
                raise NameError(_message(name, self.missing[name]), name=name)

    def explain(self, error: BaseException) -> None:
        """Let a NameError, also one that an error is chained to, say why a global has no value."""
        seen: set[int] = set()
        errors: list[BaseException | None] = [error]
        while errors:
            each = errors.pop()
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            errors += [each.__cause__, each.__context__]
            if isinstance(each, BaseExceptionGroup):
                errors += each.exceptions
            if type(each) is NameError and each.name in self.missing:
                each.args = (_message(each.name, self.missing[each.name]),)


def _message(name: str, reason: str) -> str:
    return (
        f"name {name!r} is not defined on the worker: the script has a global {name!r}, but "
        f"{reason}. Pass what the call needs of it as an argument, or let an initializer of the "
        "executor make it on each worker."
    )


namespace = Namespace()
"""The globals in this process, which runs calls of a script on another rank."""


class ReceivedCall:
    """A function of a job, with the globals that the script had when the job was submitted.

    Parameters
    ----------
    payload, buffers
        As of `bsbpool.script.calls.ScriptCall.parcel`.
    """

    def __init__(self, payload: Any, buffers: Buffers) -> None:
        self.__qualname__, numbers, self._payload, self._fresh = loads(payload, buffers)
        self._units = [namespace.units[number] for number in numbers]
        self._changes = -1
        self._f: Any = None

    def enter(self) -> None:
        """Put the globals in place, and find the function among them."""
        if namespace.entered is self:
            return
        namespace.enter(self._units)
        if not self._fresh and self._changes != namespace.changes:
            self._f = pickle.loads(self._payload)
            self._changes = namespace.changes
        namespace.entered = self

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        self.enter()
        f = pickle.loads(self._payload) if self._fresh else self._f
        return f(*args, **kwargs)
