"""Callables other than functions of a module: lambdas, closures, partials and builtins."""

from __future__ import annotations

import collections
import functools
import math
import operator
import random
import re
from typing import Any

import numpy as np

from differential.functions import echo
from differential.recipes import maker


@maker("lambda")
def _lambda(n: int, parts: list[Any]) -> Any:
    made = [
        lambda *args, **kwargs: (parts, args),
        lambda *args, **kwargs: [echo(*args), n],
        lambda *args, x=parts, **kwargs: x,
        lambda *args, **kwargs: math.pi + n,
    ]
    return made[n % len(made)]


@maker("closure")
def _closure(n: int, parts: list[Any]) -> Any:
    count = 0

    def counts(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return count

    def collects(*args: Any, **kwargs: Any) -> Any:
        parts.append(len(args))
        return list(parts)

    def recurses(*args: Any, depth: int = 0, **kwargs: Any) -> Any:
        return depth if depth == 3 else recurses(*args, depth=depth + 1)

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise KeyError(parts, n)

    @functools.lru_cache(maxsize=4)
    def remembers(*args: Any) -> Any:
        return n, len(args)

    def shows(first: Any = n, *args: Any, last: Any = parts, **kwargs: str) -> Any:
        """Return the arguments and the variables."""
        return args, list(kwargs.items()), last, n, count

    def nests(*args: Any, **kwargs: Any) -> Any:
        def inner(x: Any = n) -> Any:
            return [x, *parts], count

        return inner()

    return [counts, collects, recurses, fails, remembers, shows, nests][n % 7]


@maker("partial")
def _partial(n: int, parts: list[Any]) -> Any:
    f = next((part for part in parts if callable(part) and not isinstance(part, type)), echo)
    rest = [part for part in parts if part is not f]
    if n % 3 == 0:
        return functools.partial(functools.partial(f, *rest[:1], key=n), *rest[1:], a=n)
    return functools.partial(f, *rest, key=n) if n % 2 else functools.partial(f, *rest)


@maker("builtin")
def _builtin(n: int, parts: list[Any]) -> Any:
    """Return builtin functions without state."""
    made = [
        len, int, dict, list, sorted, max, str.upper, operator.itemgetter(1), operator.add,
        operator.methodcaller("upper"), operator.attrgetter("real"), dict.fromkeys, bytes.fromhex,
        np.add, math.sqrt, np.sum, isinstance, str, (5).__add__, "-".join, repr, callable,
        Exception, np.asarray, object.__repr__, int.from_bytes, [].__len__,
    ]  # fmt: skip
    return made[n % len(made)]


@maker("builtin method")
def _builtin_method(n: int, parts: list[Any]) -> Any:
    """Return methods of builtin objects, which hold these objects."""
    d = next((part for part in parts if type(part) is dict), None)
    items = next((part for part in parts if type(part) is list), None)
    d = {0: n, "a": 1, None: 5} if d is None else d
    items = [n, 1, 2] if items is None else items
    made = [
        d.get, d.setdefault, d.pop, d.__contains__, d.__getitem__, d.copy, d.keys, items.append,
        items.copy, items.count, items.__contains__, {n, 0, "a"}.__contains__, {n}.union,
        collections.deque([n, 2]).count, random.Random(n).choice, random.Random(n).random,
        np.random.default_rng(n).choice, np.arange(3.0 + n % 5).sum, re.compile("a").findall,
        bytearray(b"abc").count, d.items, items.pop, random.Random(n).randrange,
        random.Random(n).getrandbits, np.random.default_rng(n).integers,
        iter(items).__length_hint__, np.random.RandomState(n).randint,
    ]  # fmt: skip
    return made[n % len(made)]


CALLABLES = (
    "function", "lambda", "closure", "partial", "method", "machine", "unprintable", "local method",
    "builtin", "builtin method",
)  # fmt: skip
STATEFUL = ("closure", "partial", "method", "machine", "builtin method", "builtin method")
"""Callables with state that a call may change; each call must get its own copy."""
