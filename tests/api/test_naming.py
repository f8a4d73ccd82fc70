"""Texts of users' objects are short, on one line, without addresses, and never raise."""

from __future__ import annotations

import functools
import io
import signal
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from bsbpool import naming
from bsbpool.process import Terminated, marking_signals


class Hostile:
    """An object whose repr and str raise."""

    def __init__(self, error: type[BaseException] = ValueError) -> None:
        self.error = error

    def __reduce__(self) -> object:
        return type(self), (self.error,)

    def __getattr__(self, name: str) -> object:
        raise self.error

    def __repr__(self) -> str:
        raise self.error

    __str__ = get_node_name = __repr__

    def __call__(self) -> None:
        """Do nothing."""


class Plain:
    """An object with the repr of every object."""


@dataclass
class Large:
    """Its repr is as long as its list."""

    items: list[int]


class Loud:
    """Counts the calls of its repr."""

    printed = 0

    def __repr__(self) -> str:
        Loud.printed += 1
        return "loud"


def area(a: float, b: float) -> float:
    """Return the area of a rectangle."""
    return a * b


def outer() -> object:
    """Return a function inside a function."""

    def inner() -> None: ...

    return inner


ERRORS = [ValueError, AttributeError, RecursionError, SystemExit, GeneratorExit, BaseException]


@pytest.mark.parametrize("error", ERRORS)
def test_nothing_is_raised(error):
    bad = Hostile(error)
    said = f"raised {error.__name__}>"
    assert naming.text_of(bad) == f"<Hostile: its __str__ {said}"
    assert naming.repr_of(bad) == f"<Hostile: its __repr__ {said}"
    assert naming.brief([bad, 1]) == naming.shortened(f"[<Hostile: its __repr__ {said}, 1]")
    assert naming.name_of(bad) == f"<Hostile: its __repr__ {said}"
    assert naming.node_name(bad) == f"<Hostile: its get_node_name {said}"
    assert naming.call_text(area, (bad,)).startswith("area(<Hostile: its __repr__ raised ")
    assert naming.call_text(bad).startswith("<Hostile: its __repr__ raised ")
    assert naming.submitter_text(bad) == f" of node '<Hostile: its get_node_name {said}'"
    assert naming.attribute(bad, "shape") is None


@pytest.mark.parametrize("wrong", [None, 3, b"text"])
def test_a_method_that_returns_no_text(wrong):
    class Wrong:
        def __repr__(self):
            return wrong

        get_node_name = __str__ = __repr__

    assert naming.text_of(Wrong()) == "<Wrong: its __str__ raised TypeError>"
    assert naming.brief(Wrong()) == "<Wrong: its __repr__ raised TypeError>"
    assert naming.node_name(Wrong()) == str(wrong)


def test_a_signal_is_not_swallowed():
    with pytest.raises(Terminated):
        naming.brief(Hostile(Terminated))
    with pytest.raises(KeyboardInterrupt):
        naming.text_of(Hostile(KeyboardInterrupt))


def test_a_keyboard_interrupt_raised_by_a_repr_is_not_a_signal():
    with marking_signals():
        assert naming.brief(Hostile(KeyboardInterrupt)) == (
            "<Hostile: its __repr__ raised KeyboardInterrupt>"
        )
        with pytest.raises(KeyboardInterrupt):
            naming.brief(Interrupting())


class Interrupting:
    """Gets Ctrl-C while its text is made."""

    def __repr__(self) -> str:
        signal.raise_signal(signal.SIGINT)
        return "too late"


def test_no_signal_raises_in_other_threads():
    texts = []
    thread = threading.Thread(target=lambda: texts.append(naming.brief(Hostile(KeyboardInterrupt))))
    thread.start()
    thread.join()
    assert texts == ["<Hostile: its __repr__ raised KeyboardInterrupt>"]


def test_functions_are_named_without_their_enclosing_scope():
    assert naming.name_of(area) == "area"
    assert naming.name_of(outer()) == "inner"
    assert naming.name_of(functools.partial(area, 2)) == "partial(area)"
    assert naming.name_of(Plain) == "Plain"
    assert naming.name_of([].append) == "list.append"
    assert naming.name_of(Plain()) == "<Plain>"
    assert naming.name_of(SimpleNamespace(__qualname__=3, f=1)) == "namespace(__qualname__=3, f=1)"


def test_the_name_of_a_class_with_another_metaclass():
    class Meta(type):
        @property
        def __name__(cls):
            raise KeyError

        __repr__ = __name__

    class Odd(metaclass=Meta):
        def __repr__(self):
            raise ValueError

    texts = naming.brief(Odd()), naming.name_of(Odd), naming.brief(Odd)
    assert texts == ("<Odd: its __repr__ raised ValueError>", "Odd", "Odd")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((300, 4)), "<ndarray (300, 4) float64>"),
        (np.float64(2.5), repr(np.float64(2.5))),
        (np.zeros(3, dtype="i4"), "<ndarray (3,) int32>"),
        (Plain(), "<Plain>"),
        (Large(list(range(10**6))), "Large(...)"),
        (b"x" * 10**6, "<bytes of length 1000000>"),
        (OrderedDict.fromkeys(range(10**6)), "<OrderedDict of length 1000000>"),
        ({1: "a", 2: {3: {4: {5: 6}}}}, "{1: 'a', 2: {3: {...}}}"),
        ({1, 2, 3, 4, 5, 6}, "{1, 2, 3, 4, ...}"),
        (set(), "set()"),
        (frozenset([1]), "frozenset({1})"),
        (10**6000, "<int: its __repr__ raised ValueError>"),
        ("a\nb", r"'a\nb'"),
        (SimpleNamespace(a="x\n\ny"), r"namespace(a='x\n\ny')"),
        (functools.partial(area, 2), "functools.partial(<function area>, 2)"),
        (area, "area"),
        (None, "None"),
    ],
    ids=lambda value: naming.brief(value) if isinstance(value, str) else type(value).__name__,
)
def test_arguments_are_brief(value, text):
    assert naming.brief(value) == text


@pytest.mark.parametrize("value", ["x" * 1000, list("abcdef") * 1000, [["x" * 99] * 99] * 99])
def test_no_text_is_longer_than_sixty_characters(value):
    assert len(naming.brief(value)) <= naming.LONGEST
    assert len(naming.call_text(area, (value,) * 50, {"keyword": value})) <= naming.LONGEST


def test_only_the_shown_part_is_printed():
    Loud.printed = 0
    many = [Loud() for _ in range(1000)]
    for value in (many, tuple(many), dict(enumerate(many)), set(many), frozenset(many)):
        naming.brief(value)
    naming.call_text(area, many, dict(zip(map(str, many), many, strict=False)))
    assert Loud.printed < 50 + 1000  # str(loud), here, prints each of them once


def test_a_call_is_written_as_in_python():
    assert naming.call_text(area, (2, 3)) == "area(2, 3)"
    assert naming.call_text(area, (2,), {"b": "x"}) == "area(2, b='x')"
    assert naming.call_text(outer()) == "inner()"


def test_a_call_has_as_many_arguments_as_fit():
    text = naming.call_text(area, ("x" * 30, "y" * 30), {"seed": 3})
    assert text == f"area('{'x' * 30}', ...)"
    text = naming.call_text(area, (), {"seed": 3, "b": list(range(20)), "c": "x" * 30})
    assert text == "area(seed=3, b=[0, 1, 2, 3, ...], ...)"
    text = naming.call_text(area, ("x" * 50,), {"seed": 3})  # each argument is shortened, too
    assert text.startswith("area('xxx") and text.endswith("xxx', seed=3)")


def test_the_text_of_a_job():
    assert naming.job_text(12) == "job 12"
    assert naming.job_text(None, "area(2, 3)") == "job 'area(2, 3)'"
    submitter = naming.submitter_text("Alice")
    assert naming.job_text(0, "area(2, 3)", submitter) == "job 0 'area(2, 3)' of 'Alice'"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (2e-10, "0 s"), (3e-9, "3 ns"), (1.5e-6, "1.5 us"), (0.0123, "12.3 ms"),
     (0.9999, "1 s"), (3.21, "3.21 s"), (99.94, "99.9 s"), (99.96, "1 min 40 s"),
     (320, "5 min 20 s"), (3599.6, "1 h 0 min"), (11100, "3 h 5 min"), (200_000, "2 d 7 h")],
)  # fmt: skip
def test_durations(seconds, text):
    assert naming.duration_text(seconds) == text


def test_a_text_that_a_file_cannot_encode():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert naming.printable("caf\u00e9 \udc80", file) == r"caf\xe9 \udc80"
    assert naming.printable("caf\u00e9 \udc80", sys.__stdout__).endswith(r" \udc80")
    assert naming.printable("plain", None) == "plain"


class TestExplain:
    def test_the_explanation_of_a_plain_error_comes_first(self):
        error = TypeError("cannot pickle 'generator' object")
        naming.explain(error, "The return value of job 4 'g' cannot be pickled")
        assert str(error) == (
            "The return value of job 4 'g' cannot be pickled: cannot pickle 'generator' object"
        )

    @pytest.mark.parametrize("error", [KeyError("x"), OSError(2, "x"), ValueError("a", 1)])
    def test_other_errors_keep_their_arguments(self, error):
        args = error.args
        naming.explain(error, "It failed")
        assert (error.args, error.__notes__) == (args, ["It failed."])

    def test_an_error_that_takes_no_notes(self):
        error = KeyError("x")
        error.__notes__ = 3
        naming.explain(error, "It failed")
        assert error.__notes__ == 3
