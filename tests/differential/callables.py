"""What jobs and calls call: functions of all kinds, and objects that behave like functions.
"""

from __future__ import annotations

import collections
import functools
import math
import operator
import random
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from differential.errors import ToRaise
from differential.recipes import change, maker

in_oracle: ContextVar[bool] = ContextVar("in_oracle", default=False)
"""Whether functions do without the library, since it is the oracle that calls them."""
ran: list[Any] = []
"""The keys of the logged calls that ran in this process."""


def logged(owner: Any, key: Any, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Note that a call ran, and make it."""
    if not in_oracle.get():
        ran.append(key)
    return f(owner, *args, **kwargs)


def logged_call(key: Any, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Do the same for a call that gets no owner."""
    ran.append(key)
    return f(*args, **kwargs)


prepared: ContextVar[Any] = ContextVar("prepared", default=None)
"""What the oracle says of the initializer."""
given: list[Any] = [None]
"""What the initializer of this process was given."""


def prepare(value: Any) -> None:
    """Be an initializer."""
    given[0] = value


def fail_to_prepare() -> None:
    raise LookupError("this initializer fails")


def read_prepared(*args: Any, **kwargs: Any) -> Any:
    return prepared.get() if in_oracle.get() else given[0]


@maker("read prepared")
def _read_prepared(n: int, parts: list[Any]) -> Any:
    return read_prepared


# ------------------------------------------------------------------ functions of a module


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def first(*args: Any, **kwargs: Any) -> Any:
    return args[0] if args else None


def last(*args: Any, **kwargs: Any) -> Any:
    return args[-1] if args else None


def nothing(*args: Any, **kwargs: Any) -> None:
    return None


def alter(*args: Any, **kwargs: Any) -> Any:
    """Change all arguments that can be changed, in place."""
    for n, arg in enumerate(args):
        change(arg, n + 10)
    return args


def alter_and_fail(*args: Any, **kwargs: Any) -> Any:
    alter(*args)
    raise ValueError("altered", len(args))


def identities(*args: Any, **kwargs: Any) -> Any:
    """Tell which arguments are one object."""
    values = [*args, *kwargs.values()]
    return [[a is b for b in values] for a in values if not isinstance(a, (int, float, str, bytes))]


def throw(*args: Any, **kwargs: Any) -> Any:
    """Raise what the arguments say, with the others as its arguments."""
    for arg in args:
        if isinstance(arg, ToRaise):
            raise arg.make([other for other in args if other is not arg])
    raise LookupError("nothing to raise", len(args))


def chain(*args: Any, **kwargs: Any) -> Any:
    """Raise what the arguments say, from another error."""
    try:
        {}["the cause"]
    except KeyError as cause:
        for arg in args:
            if isinstance(arg, ToRaise):
                raise arg.make([]) from cause
        raise RuntimeError("chained") from cause


def views(*args: Any, **kwargs: Any) -> Any:
    """Return the same data in several ways."""
    return [arg[::2] if isinstance(arg, np.ndarray) and arg.ndim else arg for arg in args] * 2


def generate(*args: Any, **kwargs: Any) -> Any:
    yield from args


def close_over(*args: Any, **kwargs: Any) -> Any:
    """Return functions that only this call has."""

    def inner(x: Any = None) -> Any:
        return args[-1], x

    return [inner, functools.partial(inner, 5), lambda: 3]


def in_a_pool(*args: Any, **kwargs: Any) -> Any:
    """Do some of the work in a pool of its own."""
    if in_oracle.get():
        return [(args, {}), *[((None, n), {}) for n in range(3)]]
    from bsbpool import create_job_pool

    with create_job_pool(quiet=True) as pool:
        jobs = [pool.queue(_without_owner, args)]
        jobs += pool.queue_many(echo, zip(range(3)), deps=jobs)
        results = pool.execute(return_results=True)
    return [results[job] for job in jobs]


def _without_owner(owner: Any, *args: Any) -> Any:
    return args, {}


@functools.lru_cache(maxsize=8)
def cached(*args: Any) -> Any:
    return len(args)


@functools.singledispatch
def dispatching(*args: Any) -> Any:
    return "else"


@dispatching.register
def _dispatching_int(x: int, *args: Any) -> Any:
    return "int", x


FUNCTIONS = [
    echo, first, last, nothing, alter, alter_and_fail, identities, throw, chain, views, generate,
    close_over, in_a_pool, cached, dispatching,
]  # fmt: skip


@maker("function")
def _function(n: int, parts: list[Any]) -> Any:
    return FUNCTIONS[n % len(FUNCTIONS)]


# ------------------------------------------------------------------ without a name


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

    return [counts, collects, recurses, fails, remembers][n % 5]


@maker("partial")
def _partial(n: int, parts: list[Any]) -> Any:
    f = next((part for part in parts if callable(part) and not isinstance(part, type)), echo)
    rest = [part for part in parts if part is not f]
    return functools.partial(f, *rest, key=n) if n % 2 else functools.partial(f, *rest)


# ------------------------------------------------------------------ methods


def undressed(method: Any) -> Any:
    """Decorate a method and do not say of which one."""

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return "undressed", method(self, *args, **kwargs)

    return wrapper


class Machine:
    """Has methods whose names are not those of their attributes."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.changes = 0

    def work(self, *args: Any, **kwargs: Any) -> Any:
        self.changes += 1
        return self.state, self.changes, len(args)

    def __private(self, *args: Any, **kwargs: Any) -> Any:
        return "private", self.state

    def private(self) -> Any:
        return self.__private

    @undressed
    def bare(self, *args: Any, **kwargs: Any) -> Any:
        return self.state

    anonymous = lambda self, *args, **kwargs: ("lambda", self.state)  # noqa: E731
    renamed = work

    @classmethod
    def of_class(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.__name__, len(args)

    @staticmethod
    def of_none(*args: Any, **kwargs: Any) -> Any:
        return "static", len(args)

    @functools.lru_cache  # noqa: B019
    def kept(self, *args: Any) -> Any:
        return "kept", len(args)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.work(*args, **kwargs)


class Unprintable(Machine):
    """A callable whose `repr`, `str` and `__qualname__` raise."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")

    def __getattr__(self, name: str) -> Any:
        if name in ("__qualname__", "__name__"):
            raise ZeroDivisionError("no name")
        raise AttributeError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for arg in args:
            if isinstance(arg, ToRaise):
                raise arg.make([])
        return len(args)


def _local_machine() -> type:
    class LocalMachine:
        def __init__(self, state: Any) -> None:
            self.state = state
            self.changes = 0

        def work(self, *args: Any, **kwargs: Any) -> Any:
            self.changes += 1
            return self.state, self.changes

        def __private(self, *args: Any, **kwargs: Any) -> Any:
            return "private", self.state

        def private(self) -> Any:
            return self.__private

        @functools.cached_property
        def expensive(self) -> Any:
            return [self.state]

        @functools.lru_cache  # noqa: B019
        def kept(self, *args: Any) -> Any:
            return "kept", len(args)

        @staticmethod
        @functools.cache
        def static(*args: Any) -> Any:
            return "static", len(args)

        @functools.singledispatchmethod
        def dispatch(self, *args: Any) -> Any:
            return "else", len(args)

        @dispatch.register
        def _int(self, x: int, *args: Any) -> Any:
            return "int", x

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.expensive, self.static(1), self.dispatch(2)

    return LocalMachine


LocalMachine = _local_machine()


@maker("method")
def _method(n: int, parts: list[Any]) -> Any:
    m = next((part for part in parts if isinstance(part, Machine)), None)
    m = m or Machine(parts[0] if parts else n)
    made = [
        m.work, m.private(), m.bare, m.anonymous, m.renamed, m.of_class, m.of_none, m.kept, m,
        Machine.of_class, m.__call__,
    ]  # fmt: skip
    return made[n % len(made)]


@maker("machine")
def _machine(n: int, parts: list[Any]) -> Any:
    return Machine(parts[0] if parts else n)


@maker("unprintable")
def _unprintable(n: int, parts: list[Any]) -> Any:
    return Unprintable(n)


@maker("local method")
def _local_method(n: int, parts: list[Any]) -> Any:
    m: Any = LocalMachine(parts[0] if parts else n)
    made = [m.work, m.private(), m.kept, m.static, m.dispatch, m, LocalMachine]
    return made[n % len(made)]


@maker("builtin")
def _builtin(n: int, parts: list[Any]) -> Any:
    """Return functions of Python itself that carry nothing."""
    made = [
        len, int, dict, list, sorted, max, str.upper, operator.itemgetter(1), operator.add,
        operator.methodcaller("upper"), operator.attrgetter("real"), dict.fromkeys, bytes.fromhex,
        np.add, math.sqrt, np.sum, isinstance, str, (5).__add__, "-".join, repr, type, Exception,
        np.ndarray, object.__repr__, int.from_bytes, [].__len__,
    ]  # fmt: skip
    return made[n % len(made)]


@maker("builtin method")
def _builtin_method(n: int, parts: list[Any]) -> Any:
    """Return methods of Python's own objects, which carry these."""
    d = next((part for part in parts if type(part) is dict), None)
    items = next((part for part in parts if type(part) is list), None)
    d = {0: n, "a": 1, None: 5} if d is None else d
    items = [n, 1, 2] if items is None else items
    made = [
        d.get, d.setdefault, d.pop, d.__contains__, d.__getitem__, d.copy, d.keys, items.append,
        items.copy, items.count, items.__contains__, {n, 0, "a"}.__contains__, {n}.union,
        collections.deque([n, 2]).count, random.Random(n).choice, random.Random(n).random,
        np.random.default_rng(n).choice, np.arange(3.0 + n % 5).sum, re.compile("a").match,
        bytearray(b"abc").count, d.items,
    ]  # fmt: skip
    return made[n % len(made)]


CALLABLES = (
    "function", "lambda", "closure", "partial", "method", "machine", "unprintable", "local method",
    "builtin", "builtin method",
)  # fmt: skip
STATEFUL = ("closure", "partial", "method", "machine", "builtin method", "builtin method")
"""Those that carry what a call may change: each call is to get a copy of it."""
