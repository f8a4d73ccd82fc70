"""Checks of arguments, and the errors that refuse them."""

from __future__ import annotations

import numbers
from typing import Any, NoReturn

from bsbpool.naming import brief

_ALLOWED = {
    "f": "f must be callable, got {}; give a function, and its arguments in args",
    "args": "args must be a tuple or list of arguments, got {}; use (x,) for a single argument",
    "argses": "argses must be an iterable of tuples of arguments, got {}; use [(x,), (y,)]",
    "kwargs": "kwargs must be a mapping of names to values, got {}",
}


def refuse(name: str, value: Any) -> NoReturn:
    """Raise the TypeError of an argument of `JobPool.queue`."""
    raise TypeError(_ALLOWED[name].format(brief(value)))


def communicator(comm: Any, name: str = "comm") -> None:
    """Check that ranks can work together over a communicator, an mpi4py one or an `MPIService`.

    Raises
    ------
    TypeError, ValueError
        When `comm` is something else, or has no part for this rank.
    """
    if hasattr(comm, "get_communicator"):
        return
    if not hasattr(comm, "Get_size"):
        raise TypeError(f"{name} must be an mpi4py communicator, got {brief(comm)}")
    if not comm:
        raise ValueError(
            f"{name} is COMM_NULL on this rank; only the ranks of the communicator may take part"
        )
    if comm.Is_inter():
        raise ValueError(f"{name} must be an intracommunicator; use {name}.Merge()")


def seconds(name: str, value: Any, allowed: str = "a number of seconds or None") -> float:
    """Return a number of seconds; refuse negative ones."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, got {brief(value)}")
    if not float(value) >= 0:  # or NaN
        raise ValueError(f"{name} must not be negative, got {brief(value)}")
    return float(value)


def cache_items(needs: Any) -> list[Any]:
    """Return the cache items that a job needs as a list."""
    if isinstance(needs, (str, bytes)) or not hasattr(needs, "__iter__"):
        item = brief(needs)
        raise TypeError(f"cache_items must be a list, got {item}; use cache_items=[{item}]")
    return list(needs)
