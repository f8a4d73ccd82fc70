"""Outcomes of jobs and calls: those that were seen, and those that are allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from differential.describe import BOMB, UNPICKLABLE, Description, describe, mentions

SUCCESS, FAILED, CANCELLED, ABORTED = "SUCCESS", "FAILED", "CANCELLED", "ABORTED"
UNREADABLE = "UNREADABLE"
"""The outcome of a job that has succeeded but whose result cannot be read."""
PICKLING = ("builtins.TypeError", "_pickle.PicklingError", "builtins.AttributeError")
"""What pickle and cloudpickle raise when they cannot do their work."""
REMOTE = "bsbpool.exceptions.RemoteError"
HANDLED = (ValueError, LookupError)
"""Errors that the listener of a program handles."""


@dataclass
class Seen:
    """What came of a job: a status, the description of a result or an error."""

    status: str
    value: Description = None
    notes: tuple[str, ...] = ()
    cause: str = ""


@dataclass
class Expected:
    """What may come of a job.

    Attributes
    ----------
    status : str
        How it ends.
    value : Description
        Its result or error; None where that does not matter.
    errors : tuple of str
        Names of the types that its error may have, where the error itself is not known.
    causes : tuple of str
        Names of the types that the cause of its error may have.
    or_else : set of str
        Other statuses that it may have, since that is a matter of time.
    unread : bool
        Whether the result cannot be unpickled where it arrives, which may be noticed late.
    live : object
        The result or the error itself, while others may still change it.
    error : BaseException or None
        What the function raised.
    called : bool
        Whether the function is called at all.
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
        """Describe what is alive."""
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
        """Say how what came of the job differs; nothing when it does not."""
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
    """Say where two descriptions differ."""
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
    """Whether an error is no program's; these have arguments."""
    return isinstance(error, KeyboardInterrupt) and not error.args


# ------------------------------------------------------------------ in this process


def call_here(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], packs: bool
) -> Expected:
    """Call a function on the very arguments; with `packs`, results are pickled to be kept."""
    try:
        value = f(*args, **kwargs)
    except BaseException as error:
        return kept(error, True, False)
    return kept(value, False, packs)


def kept(value: Any, fails: bool, packs: bool) -> Expected:
    """Return what comes of a result or error in this process."""
    made = Expected(FAILED if fails else SUCCESS, live=value, is_live=True)
    if fails:
        made.error = value
    elif packs:
        made.value = describe(value)
        if mentions(made.value, BOMB):
            return Expected(SUCCESS, or_else={FAILED, UNREADABLE})
        made.is_live = mentions(made.value, UNPICKLABLE)  # then it stays as it is
    return made


# ------------------------------------------------------------------ over pickles


def call_apart(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Expected:
    """Call a function as on another rank; the arguments are nobody else's."""
    given = describe((f, args, kwargs))
    if _is_bad(given):
        made = _untravelled(given)
        made.called = False
        return made
    try:
        value = f(*args, **kwargs)
    except BaseException as error:
        made = Expected(FAILED, describe(error), notes_of(error), error=error)
        if _is_bad(made.value):
            made.errors = (REMOTE, kind_of(error), *_untravelled(made.value).errors)
        if made.value[3] == "ndarray is not C-contiguous":
            made.be_any()  # NumPy pickles such an array as a contiguous one
            made.or_else = {SUCCESS}
        return made
    description = describe(value)
    if not _is_bad(description):
        return Expected(SUCCESS, description)
    made = _untravelled(description)
    made.unread = all(when == "unpickled" for when, _ in _bombs_in(description)) and not mentions(
        description, UNPICKLABLE
    )
    return made


def _is_bad(description: Description) -> bool:
    return mentions(description, UNPICKLABLE) or mentions(description, BOMB)


def _untravelled(description: Description) -> Expected:
    """Return what comes of something that does not travel."""
    bombs = _bombs_in(description)
    early = [kind for when, kind in bombs if when == "pickled"]
    unpicklable = mentions(description, UNPICKLABLE)
    kinds = set(early if early or unpicklable else [kind for _, kind in bombs])
    if unpicklable or "builtins.RecursionError" in kinds:  # cloudpickle replaces the latter
        kinds.update(PICKLING)
    return Expected(FAILED, errors=tuple(sorted(kinds)))


def _bombs_in(description: Description) -> list[tuple[str, str]]:
    """Return when each bomb inside goes off, and the type of its error."""
    if not isinstance(description, tuple):
        return []
    if description[:1] == (BOMB,):
        return [(description[1], description[2][1])]
    return [bomb for part in description for bomb in _bombs_in(part)]
