"""Outcomes of jobs and calls: the observed and the allowed ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from differential.describe import BOMB, UNPICKLABLE, Description, describe, mentions

SUCCESS, FAILED, CANCELLED, ABORTED = "SUCCESS", "FAILED", "CANCELLED", "ABORTED"
UNREADABLE = "UNREADABLE"
"""The outcome of a job that has succeeded but whose result cannot be read."""
PICKLING = ("builtins.TypeError", "_pickle.PicklingError", "builtins.AttributeError")
"""The errors of pickle and cloudpickle for objects that they cannot pickle."""
REMOTE = "bsbpool.exceptions.RemoteError"
HANDLED = (ValueError, LookupError)
"""Errors that the listener of a program handles."""


@dataclass
class Seen:
    """The observed outcome of a job: a status, and the description of a result or an error."""

    status: str
    value: Description = None
    notes: tuple[str, ...] = ()
    cause: str = ""


@dataclass
class Expected:
    """The allowed outcomes of a job.

    Attributes
    ----------
    status : str
        The final status.
    value : Description
        The result or error; None if any is allowed.
    errors : tuple of str
        Names of the types that the error may have, if the error itself is not known.
    causes : tuple of str
        Names of the types that the cause of the error may have.
    or_else : set of str
        Other allowed final statuses, if the status depends on timing.
    unread : bool
        Whether the receiver cannot unpickle the result, which may be noticed late.
    live : object
        The result or the error itself, while it may still change.
    error : BaseException or None
        The error that the function raised.
    called : bool
        Whether the function is called.
    """

    status: str = SUCCESS
    value: Description = None
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    or_else: set[str] = field(default_factory=set)
    unread: bool = False
    live: Any = None
    is_live: bool = False
    error: BaseException | None = None
    called: bool = True

    def settle(self) -> None:
        """Replace the live result or error with its description."""
        if self.is_live:
            self.value = describe(self.live)
            if self.status == FAILED:
                self.notes = notes_of(self.live)

    def be_any(self) -> None:
        """Expect any result or error."""
        self.value, self.notes, self.errors, self.causes, self.is_live = None, (), (), (), False

    def is_handled(self) -> bool:
        """Whether the listener of a program handles the failure."""
        return isinstance(self.error, HANDLED)

    def kinds(self) -> tuple[str, ...]:
        """Return the names of the types that the error may have."""
        return self.errors or (kind_of(self.error),)

    def mistake(self, seen: Seen) -> str:
        """Return how an observed outcome differs from the allowed ones, or an empty string."""
        if seen.status != self.status:
            if seen.status in self.or_else:
                return ""
            return f"{seen.status} {short(seen.value)}, not {self.status} {short(self.value)}"
        if seen.status == FAILED and self.errors:
            found = seen.value[1]
            return "" if found in self.errors else f"{short(seen.value)}, none of {self.errors}"
        if seen.notes[: len(self.notes)] != self.notes:
            return f"the notes {seen.notes}, not {self.notes}"
        if self.causes and seen.cause not in self.causes:
            return f"the cause is {seen.cause or None}, not {' or '.join(self.causes)}"
        if self.value is None or seen.value == self.value:
            return ""
        return f"{short(seen.value)}, not {short(self.value)}: {difference(seen.value, self.value)}"


def short(description: Description) -> str:
    """Return a description that can be printed."""
    text = repr(description)
    return text if len(text) < 300 else f"{text[:200]} ... {text[-90:]}"


def difference(a: Description, b: Description) -> str:
    """Return where two descriptions differ."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        for x, y in zip(a, b, strict=True):
            if x != y:
                return difference(x, y)
    return f"{short(a)} for {short(b)}"


def notes_of(error: BaseException) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))


def kind_of(error: BaseException | None) -> str:
    return "" if error is None else f"{type(error).__module__}.{type(error).__qualname__}"


def is_from_the_keyboard(error: BaseException) -> bool:
    """Whether an error is a real Ctrl-C; those of programs have arguments."""
    return isinstance(error, KeyboardInterrupt) and not error.args


# ------------------------------------------------------------------ in this process


def call_here(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], packs: bool
) -> Expected:
    """Call a function with the arguments themselves; with `packs`, its result is pickled."""
    try:
        value = f(*args, **kwargs)
    except BaseException as error:
        return kept(error, True, False)
    return kept(value, False, packs)


def kept(value: Any, fails: bool, packs: bool) -> Expected:
    """Return the outcome of a result or error in this process."""
    made = Expected(FAILED if fails else SUCCESS, live=value, is_live=True)
    if fails:
        made.error = value
    elif packs:
        made.value = describe(value)
        if mentions(made.value, BOMB):
            return Expected(SUCCESS, or_else={FAILED, UNREADABLE})
        made.is_live = mentions(made.value, UNPICKLABLE)  # then it is not pickled
    return made


# ------------------------------------------------------------------ over pickles


def call_remotely(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Expected:
    """Call a function as on another rank, with copies of the arguments."""
    given = describe((f, args, kwargs))
    if _is_bad(given):
        made = _untransferred(given)
        made.called = False
        return made
    try:
        value = f(*args, **kwargs)
    except BaseException as error:
        made = Expected(FAILED, describe(error), notes_of(error), error=error)
        if _is_bad(made.value):
            made.errors = (REMOTE, kind_of(error), *_untransferred(made.value).errors)
        if made.value[3] == "ndarray is not C-contiguous":
            made.be_any()  # NumPy pickles such an array as a contiguous one
            made.or_else = {SUCCESS}
        return made
    description = describe(value)
    if not _is_bad(description):
        return Expected(SUCCESS, description)
    made = _untransferred(description)
    made.unread = all(when == "unpickled" for when, _ in _bombs_in(description)) and not mentions(
        description, UNPICKLABLE
    )
    return made


def _is_bad(description: Description) -> bool:
    return mentions(description, UNPICKLABLE) or mentions(description, BOMB)


def _untransferred(description: Description) -> Expected:
    """Return the outcome of an object that cannot be pickled or unpickled."""
    bombs = _bombs_in(description)
    early = [kind for when, kind in bombs if when == "pickled"]
    unpicklable = mentions(description, UNPICKLABLE)
    kinds = set(early if early or unpicklable else [kind for _, kind in bombs])
    if unpicklable or "builtins.RecursionError" in kinds:  # cloudpickle replaces the latter
        kinds.update(PICKLING)
    return Expected(FAILED, errors=tuple(sorted(kinds)))


def _bombs_in(description: Description) -> list[tuple[str, str]]:
    """Return when each `Bomb` inside raises, and the type of its error."""
    if not isinstance(description, tuple):
        return []
    if description[:1] == (BOMB,):
        return [(description[1], description[2][1])]
    return [bomb for part in description for bomb in _bombs_in(part)]
