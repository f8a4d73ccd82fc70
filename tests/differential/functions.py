"""Module-level functions for jobs and calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from differential.errors import ToRaise
from differential.recipes import change, maker

in_oracle: ContextVar[bool] = ContextVar("in_oracle", default=False)
"""Whether the oracle calls the functions; then they do not use the library."""
ran: list[Any] = []
"""The keys of the logged calls that ran in this process."""


def logged(owner: Any, key: Any, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Record that a call ran, and call the function."""
    if not in_oracle.get():
        ran.append(key)
    return f(owner, *args, **kwargs)


def logged_call(key: Any, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Do the same for a call without an owner."""
    ran.append(key)
    return f(*args, **kwargs)


prepared: ContextVar[Any] = ContextVar("prepared", default=None)
"""The argument of the initializer, in the oracle."""
given: list[Any] = [None]
"""The argument of the initializer, in this process."""


def prepare(value: Any) -> None:
    """The initializer of an executor."""
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
    """Change all mutable arguments in place."""
    for n, arg in enumerate(args):
        change(arg, n + 10)
    return args


def alter_and_fail(*args: Any, **kwargs: Any) -> Any:
    alter(*args)
    raise ValueError("altered", len(args))


def identities(*args: Any, **kwargs: Any) -> Any:
    """Return which arguments are the same object."""
    values = [*args, *kwargs.values()]
    return [[a is b for b in values] for a in values if not isinstance(a, (int, float, str, bytes))]


def throw(*args: Any, **kwargs: Any) -> Any:
    """Raise the error that the first argument is or names, with the other arguments."""
    for arg in args:
        if isinstance(arg, ToRaise):
            raise arg.make([other for other in args if other is not arg])
    raise LookupError("nothing to raise", len(args))


def chain(*args: Any, **kwargs: Any) -> Any:
    """Raise the error that the arguments describe, from another error."""
    try:
        {}["the cause"]
    except KeyError as cause:
        for arg in args:
            if isinstance(arg, ToRaise):
                raise arg.make([]) from cause
        raise RuntimeError("chained") from cause


def views(*args: Any, **kwargs: Any) -> Any:
    """Return several views of the same data."""
    return [arg[::2] if isinstance(arg, np.ndarray) and arg.ndim else arg for arg in args] * 2


def generate(*args: Any, **kwargs: Any) -> Any:
    yield from args


def close_over(*args: Any, **kwargs: Any) -> Any:
    """Return functions that are local to this call."""

    def inner(x: Any = None) -> Any:
        return args[-1], x

    return [inner, functools.partial(inner, 5), lambda: 3]


def in_a_pool(*args: Any, **kwargs: Any) -> Any:
    """Do some of the work in a nested pool."""
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
