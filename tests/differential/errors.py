"""Errors that calls raise: all builtin errors with unusual arguments, and subclasses of them."""

from __future__ import annotations

import builtins
from typing import Any

from differential.recipes import MAKERS, maker

SPECIAL: dict[str, Any] = {
    "UnicodeDecodeError": lambda kind, args: kind("utf-8", b"\xff", 0, 1, "odd"),
    "UnicodeEncodeError": lambda kind, args: kind("utf-8", "\ud800", 0, 1, "odd"),
    "UnicodeTranslateError": lambda kind, args: kind("\ud800", 0, 1, "odd"),
    "ExceptionGroup": lambda kind, args: kind("group", [ValueError(*args), KeyError("k")]),
    "BaseExceptionGroup": lambda kind, args: kind("group", [ValueError(*args), SystemExit(3)]),
    "OSError": lambda kind, args: kind(2, "odd", "file"),
    "BlockingIOError": lambda kind, args: kind(11, "odd", 5),
    "ImportError": lambda kind, args: kind(*args[:1], name="module", path="/path"),
    "ModuleNotFoundError": lambda kind, args: kind(*args[:1], name="module"),
    "AttributeError": lambda kind, args: kind(*args, name="attribute", obj=[1]),
    "NameError": lambda kind, args: kind(*args, name="name"),
    "SyntaxError": lambda kind, args: kind("bad", ("file", 1, 2, "text", 1, 3)),
    "StopIteration": lambda kind, args: kind(*args),
}

# Some have several names.
BUILTINS = list(
    dict.fromkeys(
        kind
        for kind in vars(builtins).values()
        # A serial pool takes a KeyboardInterrupt of a job as the user's Ctrl-C.
        if isinstance(kind, type)
        and issubclass(kind, BaseException)
        and kind is not KeyboardInterrupt
    )
)


def make(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make a builtin error with the arguments that its constructor needs."""
    for parent in kind.__mro__:
        if parent.__name__ in SPECIAL:
            error: BaseException = SPECIAL[parent.__name__](kind, args)
            return error
    return kind(*args)


# ------------------------------------------------------------------ classes of a program


def _with_init(base: Any) -> Any:
    """Make a subclass whose `__init__` has other parameters than that of its base."""

    def __init__(self: Any, code: Any, *, extra: Any) -> None:
        base.__init__(self, *made(base).args)
        self.own_code = code
        self.extra = extra

    def __new__(cls: Any, code: Any, *, extra: Any) -> Any:
        model = made(base)
        if isinstance(model, BaseExceptionGroup):
            return base.__new__(cls, model.message, model.exceptions)
        return base.__new__(cls, *model.args)

    return {"__init__": __init__, "__new__": __new__}


def made(base: Any) -> BaseException:
    return make(base, ("message",))


def _with_slots(base: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, *args, **kwargs)
        self.slot = "slot"

    return {"__slots__": ("slot",), "__init__": __init__}


def _silent(base: Any) -> Any:
    """Make a subclass that passes no arguments to its base."""

    def __init__(self: Any, code: Any, extra: Any) -> None:
        self.both = [code, extra]

    def __new__(cls: Any, *args: Any) -> Any:
        return base.__new__(cls)

    return {"__init__": __init__, "__new__": __new__}


def _with_str(base: Any) -> Any:
    return {"__str__": lambda self: f"<{len(self.args)} args>", "__eq__": lambda self, other: 1 / 0}


WAYS = {"Init": _with_init, "Slots": _with_slots, "Silent": _silent, "Str": _with_str}
BASES = [
    Exception, ValueError, KeyError, OSError, FileNotFoundError, ImportError, AttributeError,
    NameError, SyntaxError, StopIteration, SystemExit, UnicodeDecodeError, ExceptionGroup,
    ArithmeticError, RuntimeError, TimeoutError,
]  # fmt: skip
OWN: list[tuple[str, type[BaseException]]] = []
for _base in BASES:
    for _way, _body in WAYS.items():
        if _way == "Silent" and _base in (UnicodeDecodeError, ExceptionGroup):
            continue  # their `__new__` or `__init__` requires arguments
        if _way == "Slots" and _base is ExceptionGroup:
            continue
        _name = f"{_way}{_base.__name__}"
        _kind = type(_name, (_base,), {"__module__": __name__, **_body(_base)})
        globals()[_name] = _kind
        OWN.append((_way, _kind))


class Stubborn(Exception):
    """Defines how it is pickled."""

    def __init__(self, message: str, *, hint: Any) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> Any:
        return _stubborn, (self.args[0], self.hint)


def _stubborn(message: str, hint: Any) -> Stubborn:
    return Stubborn(message, hint=hint)


def _local_error(code: Any) -> BaseException:
    class LocalError(RuntimeError):
        def __init__(self, code: Any, *, extra: Any) -> None:
            super().__init__(f"code {type(code).__name__}")
            self.code_of_mine = code
            self.extra = extra

    return LocalError(code, extra=[code])


LOCAL_ERROR = type(_local_error(0))


@maker("error")
def _error(n: int, parts: list[Any]) -> Any:
    error = make(BUILTINS[n % len(BUILTINS)], tuple(parts))
    return _dressed(error, n // len(BUILTINS), parts)


@maker("own error")
def _own_error(n: int, parts: list[Any]) -> Any:
    way, kind = OWN[n % len(OWN)]
    given: Any = parts[0] if parts else n
    if way == "Init":
        error: BaseException = kind(given, extra=n)  # type: ignore[call-arg]
    elif way == "Silent":
        error = kind(given, n)
    else:
        error = make(kind, tuple(parts))
    return _dressed(error, n // len(OWN), parts)


@maker("special error")
def _special_error(n: int, parts: list[Any]) -> Any:
    given: Any = parts[0] if parts else n
    made: list[Any] = [
        lambda: Stubborn("stubborn", hint=given),
        lambda: LOCAL_ERROR(given, extra=[n]),
        lambda: ExceptionGroup("g", [ValueError(given), ExceptionGroup("inner", [KeyError(n)])]),
        lambda: ValueError(KeyError("inside"), given),
        lambda: KeyError({"a", "b", "c", "d", "e", "f", "g", "h"}),
        lambda: ValueError("age", _with_age(given)),
    ]
    return made[n % len(made)]()


def _with_age(given: Any) -> Any:
    from differential.values import Box

    box = Box(given)
    box.age = 5  # type: ignore[attr-defined]
    return box


class ToRaise:
    """An error that is made where it is raised."""

    def __init__(self, n: int) -> None:
        self.n = n

    def make(self, parts: list[Any]) -> BaseException:
        kind = ERRORS[self.n % len(ERRORS)]
        error: BaseException = MAKERS[kind](self.n // len(ERRORS), parts)
        return error


@maker("to raise")
def _to_raise(n: int, parts: list[Any]) -> Any:
    return ToRaise(n)


@maker("error value")
def _error_value(n: int, parts: list[Any]) -> Any:
    """Make an error as a value, which can be pickled."""
    made: list[Any] = [
        lambda: ValueError(*parts),
        lambda: OSError(2, "odd", "file"),
        lambda: KeyError(n, parts),
        lambda: StrRuntimeError(*parts),  # type: ignore[name-defined]  # noqa: F821
        lambda: ExceptionGroup("group", [ValueError(n), KeyError(*parts)]),
        lambda: SystemExit(n),
        lambda: Stubborn("stubborn", hint=parts),
    ]
    return made[n % len(made)]()


def _dressed(error: BaseException, how: int, parts: list[Any]) -> BaseException:
    """Add attributes, notes, a cause or a context to an error."""
    if how % 3 == 1:
        error.add_note("a note")
    if how % 4 == 1 and hasattr(error, "__dict__"):
        error.attribute = list(parts)  # type: ignore[attr-defined]
    return error


ERRORS = ("error", "error", "own error", "own error", "special error")
