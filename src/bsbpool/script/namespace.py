"""The globals of the script on a worker.

They are set in the namespace of `__main__`. Each call has the numbers of the units that it needs. A
unit is set only if it is not current, so changes that calls and initializers make to a global stay
until the script gives it another value.
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

from bsbpool.naming import error_text
from bsbpool.process import Terminated
from bsbpool.serialization import loads

Buffers = list[Any]


def global_of_script(name: str) -> Any:
    """Return the value of a global as it was sent; pickles refer to globals by this function."""
    try:
        return namespace.objects[name]
    except KeyError:
        reason = namespace.missing.get(name, "it was not sent")
        raise pickle.UnpicklingError(f"it refers to the global {name!r}: {reason}") from None


def attribute_of(found: Any, path: str) -> Any:
    """Return the attribute at a dotted path, such as ``Outer.Inner``."""
    return operator.attrgetter(path)(found)


def function_over(module: str, code: types.CodeType, *rest: Any) -> types.FunctionType:
    """Make a function that uses the namespace of a module."""
    return types.FunctionType(code, importlib.import_module(module).__dict__, *rest)


class ReceivedUnit:
    """Globals with their values at one submission, as received from the main rank.

    Parameters
    ----------
    number : int
        Identifies the unit.
    names : tuple of str
        The names of the globals, usually one.
    payload : bytes-like or None
        The pickle of the tuple of their values; None if there are no values.
    reason : str or None
        The reason why the worker has no values; None if the script has deleted the globals.
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
    """The globals of the script on a worker.

    Attributes
    ----------
    units : mapping of int to ReceivedUnit
        The units that the main rank has sent and still uses, by number.
    objects : dict of str to object
        The values as they were sent, by name.
    missing : dict of str to str
        The reasons why globals of the script have no value on this worker, by name.
    changes : int
        The number of times that a unit was set.
    entered : object
        The call whose globals are set; None if there is none.
    on_change : callable
        Called whenever a unit is set.
    """

    def __init__(self) -> None:
        self.units: weakref.WeakValueDictionary[int, ReceivedUnit] = weakref.WeakValueDictionary()
        self.objects: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.changes = 0
        self.entered: object = None
        self.on_change: Callable[[], object] = lambda: None
        self._current: dict[str, int] = {}
        self._set_at: dict[int, int] = {}  # the value of `changes` when a current unit was set
        self._needs_set_at: dict[int, list[int]] = {}  # the same for the units that it needs

    def receive(self, payload: Any, buffers: Buffers) -> ReceivedUnit:
        """Register a unit; it stays registered while the caller keeps the returned object."""
        unit = ReceivedUnit(*loads(payload, buffers))
        self.units[unit.number] = unit
        return unit

    def enter(self, units: list[ReceivedUnit]) -> None:
        """Set the globals of units; each unit comes after those that it refers to.

        Raises
        ------
        NameError
            If a global without a value has the name of a builtin, which a call would use instead.
        """
        self.entered = None
        for unit in units:
            if not self._is_current(unit):
                self._set(unit)
            if unit.reason is not None:
                self._check_builtins(unit)

    def _is_current(self, unit: ReceivedUnit) -> bool:
        current = self._current
        for name in unit.names:
            if current.get(name) != unit.number:
                return False
        if not unit.needs:
            return True
        # A class that was set again is a new object, so its subclasses must be made again.
        return self._needs_set_at[unit.number] == [self._set_at[need] for need in unit.needs]

    def _set(self, unit: ReceivedUnit) -> None:
        self.changes += 1
        self.on_change()
        for name in unit.names:
            before = self._current.get(name, 0)
            self._set_at.pop(before, None)
            self._needs_set_at.pop(before, None)
        self._set_at[unit.number] = self.changes
        self._needs_set_at[unit.number] = [self._set_at[need] for need in unit.needs]
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
        """Unpickle and set the values of a unit; return the reason if that fails."""
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
        """Add the reason for a missing global to NameErrors in the chain of an error."""
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
        f"{reason}. Pass the values that the call needs as arguments, or define the global in an "
        "initializer of the executor."
    )


namespace = Namespace()
"""The namespace of this process, if it is a worker of a script."""


class ReceivedCall:
    """A function of a job, with the globals that the script had when the job was submitted.

    Parameters
    ----------
    payload, buffers
        The result of `bsbpool.script.calls.ScriptCall.parcel`.
    """

    def __init__(self, payload: Any, buffers: Buffers) -> None:
        self.__qualname__, numbers, self._payload, self._fresh = loads(payload, buffers)
        self._units = [namespace.units[number] for number in numbers]
        self._changes = -1
        self._f: Any = None

    def enter(self) -> None:
        """Set the globals and unpickle the function."""
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
