"""Shrinks a program with a difference by removing the parts that the difference does not need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from differential.recipes import V

Plan = Any
SECONDS = 10.0
"""The time limit of shrinking in seconds."""


def shrink(plan: Plan, differs: Callable[[Plan], Any], tries: int) -> tuple[Plan, Any]:
    """Return a small program that still differs, and its difference.

    Parameters
    ----------
    plan : PoolPlan or ExecutorPlan
        A program that differs.
    differs : callable
        Runs a program and returns its differences; false if there are none.
    tries : int
        The largest number of programs to run.
    """
    found = None
    again = True
    end = time.monotonic() + SECONDS
    while again:
        again = False
        for smaller in smaller_plans(plan):
            if tries <= 0 or time.monotonic() > end:
                return plan, found
            tries -= 1
            if wrong := differs(smaller):
                plan, found, again = smaller, wrong, True
                break
    return plan, found


def smaller_plans(plan: Plan) -> Iterator[Plan]:
    """Yield smaller programs, the smallest first."""
    n = len(plan.steps)
    step = n // 2
    while step:
        for first in range(0, n, step):
            yield replace(plan, steps=plan.steps[:first] + plan.steps[first + step :])
        step //= 2
    yield from smaller_things(plan)


def smaller_things(thing: Any) -> Iterator[Any]:
    """Yield a dataclass with one field set to its default, or with a smaller value in a field."""
    for field in fields(thing):
        value = getattr(thing, field.name)
        if field.name in ("key", "cell", "cells", "n", "kind") or value == field.default:
            continue
        yield replace(thing, **{field.name: field.default})
        # A callable is only replaced by a callable.
        inside = smaller_things(value) if field.name == "f" else smaller_values(value)
        for smaller in inside:
            yield replace(thing, **{field.name: smaller})


def smaller_values(value: Any) -> Iterator[Any]:
    if isinstance(value, V):
        yield from value.parts
        yield from smaller_things(value)
    elif is_dataclass(value):
        yield from smaller_things(value)
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            if len(value) > 1 and not isinstance(value[0], str):  # a name and its value
                yield value[:place] + value[place + 1 :]
            for smaller in smaller_values(part):
                yield (*value[:place], smaller, *value[place + 1 :])
