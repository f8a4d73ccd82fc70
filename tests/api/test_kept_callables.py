"""Workers keep callables without mutable state, and only those."""

from __future__ import annotations

import functools
import math
import random

import numpy as np
import pytest

from bsbpool.execution.functions import is_kept

from .support import give


@functools.cache
def cached(x):
    return x


def decorated_with(x):
    @functools.wraps(give)
    def wrapper(*args):
        return x, args

    return wrapper


named = decorated_with(3)
named.__qualname__, named.__module__ = "named", __name__


def with_options(x, options={}):  # noqa: B006
    return x, options


class Named:
    """A class with a name."""

    def method(self):
        return self

    def __call__(self):
        return self


def local(x, y=2, *, z=("a", (1.5, None)), kind=Named, f=give, g=len):
    return x


def by_value(make):
    """Return a function that cannot be imported from its module."""
    function = make()
    function.__qualname__ = "nowhere"
    return function


class Inner(dict):
    """A class that is made to look local."""


Inner.__qualname__ = "nowhere"
CLOSURE = decorated_with(3)
KEPT = [
    give, cached, named, with_options, Named, Named.method, len, math.sqrt, dict, dict.fromkeys,
    int.from_bytes, random.Random, lambda x: x, lambda x, y=3: x, by_value(lambda: local),
]  # fmt: skip
NOT_KEPT = [
    {}.get, [].pop, random.random, np.random.default_rng().random, "a".join, (5).__add__,
    Named().method, Named(), functools.partial(give), functools.partial(give, 3),
    CLOSURE, by_value(lambda: lambda x, seen=[]: x), Inner, Inner.fromkeys,
    by_value(lambda: lambda x, *, y={}: x), by_value(lambda: lambda x, f=CLOSURE: x),
    by_value(lambda: lambda x, pair=(1, []): x), functools.cache(lambda: None),
]  # fmt: skip


@pytest.mark.parametrize("f", KEPT, ids=str)
def test_callables_without_state_or_sent_by_name_are_kept(f) -> None:
    assert is_kept(f)


@pytest.mark.parametrize("f", NOT_KEPT, ids=str)
def test_callables_with_state_are_not_kept(f) -> None:
    assert not is_kept(f)


def test_a_function_with_an_attribute_is_not_kept() -> None:
    def count():
        return 1

    assert is_kept(count)
    count.calls = []
    assert not is_kept(count)
