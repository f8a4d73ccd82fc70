"""Short texts about user objects, for messages.

The texts are only printed. If the ``__repr__``, ``__str__``, ``__qualname__`` or `get_node_name`
of an object raises, the text is a substitute; only errors raised by signal handlers propagate.
Each text is short and on one line, without memory addresses and contents of arrays.

`re` and `pickle` are imported where they are used: few programs need them here, and importing
them takes longer than a short serial run.
"""

from __future__ import annotations

import functools
import itertools
import reprlib
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from bsbpool._typing import Any
from bsbpool.process import is_from_signal

LONGEST = 60
"""Maximum length of a text in characters; longer texts are cut and end in ``...``."""
MOST_ARGUMENTS = 10
"""Maximum number of positional, and of keyword, arguments in the text of a call."""

_type_name = type.__dict__["__name__"].__get__
"""Returns the name of a class, even if its metaclass overrides ``__name__``."""


def text_of(obj: Any) -> str:
    """Return ``str(obj)``, or a substitute if that raises."""
    try:
        return str.__str__(str(obj))
    except BaseException as error:
        return substitute(error, obj, "__str__")


def repr_of(obj: Any) -> str:
    """Return ``repr(obj)``, or a substitute if that raises."""
    try:
        return str.__str__(repr(obj))
    except BaseException as error:
        return substitute(error, obj, "__repr__")


def node_name(node: Any) -> str:
    """Return ``node.get_node_name()``, or ``str(node)`` for objects without that method."""
    try:
        get = getattr(node, "get_node_name", None)
        return text_of(node if get is None else get())
    except BaseException as error:
        return substitute(error, node, "get_node_name")


def name_of(f: Any) -> str:
    """Return the name of a function or class; for other callables, their ``repr``.

    The names of functions around a nested function are left out.
    """

    def name() -> str:
        if isinstance(f, functools.partial):
            return f"partial({name_of(f.func)})"
        found = attribute(f, "__qualname__")
        if not isinstance(found, str):
            return brief(f)
        return shortened(found.rpartition("<locals>.")[2])

    return safely(name, f, "__qualname__")


def brief(obj: Any) -> str:
    """Return a short ``repr(obj)``; for an array, its shape and data type."""
    return shortened(_brief.repr(obj))


def job_text(number: int | None, what: str = "", submitter: str = "") -> str:
    """Return the text of a job: ``job 12 'simulate(seed=3, ...)' of node 'granule'``.

    All messages, tracebacks and logs name jobs by this text.

    Parameters
    ----------
    number : int or None
        Its number in its pool; None while it is in none.
    what : str
        The text of its call (`call_text`), or its name; empty if it is not known.
    submitter : str
        The text of its submitter (`submitter_text`).
    """
    text = "job" if number is None else f"job {number}"
    return f"{text} '{what}'{submitter}" if what else text


def call_text(f: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None) -> str:
    """Return the source text of a call, for example ``area(2, 3)``.

    Arguments that make it longer than `LONGEST` are left out: ``area(2, ...)``.
    """

    def text() -> str:
        given = [_brief.repr(value) for value in itertools.islice(args, MOST_ARGUMENTS)]
        given += [
            f"{text_of(name)}={_brief.repr(value)}"
            for name, value in itertools.islice((kwargs or {}).items(), MOST_ARGUMENTS)
        ]
        return _fitting(name_of(f), given)

    return safely(text, f, "__repr__")


def _fitting(name: str, arguments: list[str]) -> str:
    """Return the text of a call with as many arguments as fit."""
    text = f"{name}({', '.join(arguments)})"
    while len(text) > LONGEST and len(arguments) > 1:
        arguments.pop()
        text = f"{name}({', '.join(arguments)}, ...)"
    return shortened(text)


def submitter_text(submitter: Any) -> str:
    """Return the text of a submitter, which follows that of a call; empty for None.

    It is `` of node 'granule'`` for an object with a method `get_node_name`, `` of 'Alice'`` for
    a string, and otherwise the `repr` of the object.
    """

    def text() -> str:
        if isinstance(submitter, str):
            return f" of '{shortened(submitter)}'"
        if attribute(submitter, "get_node_name") is not None:
            return f" of node '{shortened(node_name(submitter))}'"
        return f" of {brief(submitter)}"

    return "" if submitter is None else safely(text, submitter, "__repr__")


# ------------------------------------------------------------------ kinds of jobs


def kind_of(job: Any) -> str:
    """Return the name of the kind of a job: jobs that one function does, or one object submitted.

    It is the option `name`, the name of the submitter, or that of the function.
    """
    return kind_text(kind_key(job))


def kind_key(job: Any) -> Any:
    """Return the option `name` of a job, or the function or other object that names its kind."""
    if job.options is not None and job.options.name is not None:
        return job.options.name
    call = job.function_call
    if call is None:
        return job.submitter
    data = job.submission_data
    if data is None:  # so for most jobs, for which `job.submitter` would make a context
        return call[0]
    return data.get("submitter", call[0]) if type(data) is dict else job.submitter


def kind_text(key: Any) -> str:
    """Return the name of a kind, of which `kind_key` has returned the object that names it."""
    if isinstance(key, str):
        return str.__str__(key)
    if attribute(key, "get_node_name") is not None:
        return without_addresses(node_name(key))
    return name_of(key) if callable(key) else brief(key)


# ------------------------------------------------------------------ plain texts


def duration_text(seconds: float) -> str:
    """Return a duration: ``1.5 us``, ``12.3 ms``, ``3.21 s``, ``5 min 20 s``, ``2 d 7 h``."""
    if seconds < 99.95:
        seconds = float(f"{seconds:.3g}")  # so that 0.9999 is not 1000 ms
        for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us"), (1e9, "ns")):
            if seconds * factor >= 1:
                return f"{seconds * factor:.3g} {unit}"
        return "0 s"
    whole = round(seconds)
    for large, small, name, rest in ((86400, 3600, "d", "h"), (3600, 60, "h", "min")):
        if whole >= large:
            return f"{whole // large:,} {name} {whole % large // small} {rest}"
    return f"{whole // 60} min {whole % 60} s"


def without_addresses(text: str) -> str:
    """Return a text without memory addresses such as `` at 0x7f1c``."""
    if " at 0x" not in text:
        return text
    import re

    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def printable(text: str, file: Any) -> str:
    """Replace the characters of a text that the encoding of a file lacks by escapes."""
    encoding = attribute(file, "encoding") or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def shortened(text: str) -> str:
    """Return a text as one line without addresses, cut to `LONGEST` characters.

    The names of functions around a nested function are left out.
    """
    text = without_addresses(" ".join(text[: 20 * LONGEST].split()))
    if "<locals>." in text:
        import re

        text = re.sub(r"(?:\w+\.|<\w+>\.)+<locals>\.", "", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


# ------------------------------------------------------------------ texts for errors


def error_text(error: BaseException) -> str:
    """Return the type and the message of an error."""
    return f"{_type_name(type(error))}: {text_of(error)}"


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error; ignore errors whose `add_note` raises."""

    def add() -> str:
        error.add_note(note)
        return note

    safely(add, error, "add_note")


def explain(error: BaseException, what: str) -> None:
    """Add the operation that raised an error to the error.

    A builtin error with a single message gets the text in front of its message. Other errors, whose
    arguments may mean anything, get it as a note.
    """
    from pickle import PicklingError

    kinds = (AttributeError, NotImplementedError, PicklingError, TypeError, ValueError)
    args = error.args
    if type(error) in kinds and len(args) == 1 and isinstance(args[0], str):
        error.args = (f"{what}: {args[0]}",)
    else:
        add_note(error, f"{what}.")


# ------------------------------------------------------------------ helpers


def attribute(obj: Any, name: str) -> Any:
    """Return an attribute; None if it does not exist or getting it raises."""
    try:
        return getattr(obj, name, None)
    except BaseException as error:
        if is_from_signal(error):
            raise
        return None


def safely(make: Callable[[], str], obj: Any, method: str) -> str:
    """Return ``make()``; a substitute text if it raises, which names `method` of the object."""
    try:
        return make()
    except BaseException as error:
        return substitute(error, obj, method)


def substitute(error: BaseException, obj: Any, method: str) -> str:
    """Return the text that replaces the result of a method that raised.

    Errors that a signal handler raised are raised again.
    """
    if is_from_signal(error):
        raise error
    return f"<{_type_name(type(obj))}: its {method} raised {_type_name(type(error))}>"


class _Brief(reprlib.Repr):
    """A `reprlib.Repr` that iterates only over the items it shows, and does not raise."""

    KNOWN = frozenset([list, tuple, dict, set, frozenset, deque, str, int])
    SIZED = (list, tuple, dict, set, frozenset, deque, str, bytes, bytearray, memoryview)
    NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 4
        self.maxfrozenset = self.maxdeque = 4
        self.maxstring = self.maxlong = self.maxother = 40

    def repr1(self, x: Any, level: int) -> str:
        def text() -> str:
            if type(x) in self.KNOWN:
                return super(_Brief, self).repr1(x, level)
            return self.repr_instance(x, level)

        return safely(text, x, "__repr__")

    def repr_instance(self, x: Any, level: int) -> str:
        kind = type(x)
        name = _type_name(kind)
        if isinstance(x, self.NAMED):
            return name_of(x)
        shape = attribute(x, "shape")
        if isinstance(shape, tuple) and shape:
            return f"<{name} {tuple(shape)} {attribute(x, 'dtype') or ''}>".replace(" >", ">")
        if attribute(kind, "__repr__") is object.__repr__:
            return f"<{name}>"
        if hasattr(kind, "__dataclass_fields__"):  # the repr of its fields may be long
            return f"{name}(...)"
        if isinstance(x, self.SIZED) and len(x) > self.maxother:
            return f"<{name} of length {len(x)}>"
        return shortened(repr(x))

    def repr_dict(self, x: Any, level: int) -> str:
        if level <= 0 and x:
            return "{...}"
        items = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in itertools.islice(x.items(), self.maxdict)
        ]
        return self._in_braces(items, len(x))

    def repr_set(self, x: Any, level: int) -> str:
        if not x:
            return "set()"
        if level <= 0:
            return "{...}"
        items = [self.repr1(item, level - 1) for item in itertools.islice(x, self.maxset)]
        return self._in_braces(items, len(x))

    def repr_frozenset(self, x: Any, level: int) -> str:
        return f"frozenset({self.repr_set(x, level) if x else ''})"

    def _in_braces(self, items: list[str], n: int) -> str:
        return "{" + ", ".join([*items, *(["..."] if n > len(items) else [])]) + "}"


_brief = _Brief()
