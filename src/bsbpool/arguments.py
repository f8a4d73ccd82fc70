"""Checks of arguments, and warnings about arguments that are likely mistakes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable

from bsbpool._typing import Any, NoReturn
from bsbpool.naming import brief

_ALLOWED = {
    "f": "f must be callable, got {}; give a function, and its arguments in args",
    "args": "args must be a tuple or list of arguments, got {}; use (x,) for a single argument",
    "argses": "argses must be an iterable of tuples of arguments, got {}; use [(x,), (y,)]",
    "kwargs": "kwargs must be a mapping of names to values, got {}; use {{'name': value}}",
}

_PARAMETERS = ("args", "kwargs", "deps", "cache_items", "submitter")
"""The parameters of `JobPool.queue` that a keyword of the context may be a misspelling of."""
OPTIONS = (
    "name", "after_any", "on_failure", "on_end", "targets", "follow", "follow_grace", "priority",
    "retries", "retry_on", "retry_elsewhere", "retries_if_lost", "timeout", "dependency_timeout",
    "resources", "capture_output", "seed", "requires", "keep", "ranks", "gather", "placement",
    "key", "key_version", "journaled",
)  # fmt: skip
"""The options of jobs besides `deps`, which only `JobPool.options` takes."""
_OTHER_WORDS = {
    "deps": "after dep depend dependence dependencies dependency depends depends_on",
    "cache_items": "cache cached cached_items cache_item item_cache",
    "args": "arg argument arguments positional",
    "kwargs": "keyword keyword_args keyword_arguments keywords kw kwarg kwds",
    "submitter": "label submitted_by title",
}
"""Other words for these parameters."""
_ALIASES = {alias: name for name, aliases in _OTHER_WORDS.items() for alias in aliases.split()}
_SIMILAR = 0.9
"""The least similarity, by difflib, at which a keyword counts as a misspelt parameter."""


def refuse(name: str, value: Any) -> NoReturn:
    """Raise the TypeError of an argument of `JobPool.queue`."""
    raise TypeError(_ALLOWED[name].format(brief(value)))


def communicator(comm: Any, name: str = "comm") -> None:
    """Check a communicator: an intracommunicator of mpi4py, or an `MPIService`.

    Raises
    ------
    TypeError, ValueError
        When `comm` is something else, or is COMM_NULL on this rank.
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
    """Return a number of seconds.

    Raises
    ------
    TypeError, ValueError
        When `value` is not a number, or is negative.
    """
    import numbers  # here and below: pools with the default arguments need no such check

    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {allowed}, got {brief(value)}")
    if not float(value) >= 0:  # or NaN
        raise ValueError(f"{name} must be at least 0, got {brief(value)}")
    return float(value)


def cache_items(items: Any) -> list[Any]:
    """Return the cache items of a job as a list; raise TypeError if they are not in a list."""
    if isinstance(items, (str, bytes)) or not hasattr(items, "__iter__"):
        item = brief(items)
        raise TypeError(f"cache_items must be a list, got {item}; use cache_items=[{item}]")
    return list(items)


def flag(name: str, value: Any) -> bool:
    """Return an argument that is True or False as a bool.

    Raises
    ------
    TypeError
        When it is neither a bool (also of numpy) nor the number 0 or 1. Strings are not allowed,
        since ``"no"`` would count as true.
    """
    if isinstance(value, bool):
        return value
    import numbers

    numpy = sys.modules.get("numpy")
    is_number = isinstance(value, numbers.Integral) and value in (0, 1)
    if is_number or (numpy is not None and isinstance(value, numpy.bool_)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {brief(value)}")


def warn_of_owner(owner: Any, stacklevel: int = 2) -> None:
    """Warn about an owner that was probably meant for another parameter."""
    if owner is None:
        return
    import numbers

    if isinstance(owner, numbers.Number):
        kind, remedy = "number", "the ranks that take part are given by comm="
    elif hasattr(owner, "Get_size") or hasattr(owner, "get_communicator"):
        kind, remedy = "communicator", "to run on its ranks, use create_job_pool(comm=...)"
    else:
        return
    import warnings

    warnings.warn(
        f"The owner of this job pool is a {kind}, {brief(owner)}; {remedy}. The first parameter of "
        "create_job_pool is the object that every job gets as its first argument.",
        UserWarning,
        stacklevel=stacklevel + 1,
    )


def warn_of_context(names: Iterable[str], stacklevel: int = 2) -> None:
    """Warn about keywords of a job's context that look like a parameter of `queue` or an option."""
    for name in names:
        remedy = _remedy(name)
        if remedy is not None:
            import warnings

            warnings.warn(
                f"The keyword {name!r} is not a parameter of `queue`, so it is only kept as "
                f"context of the job. {remedy}",
                UserWarning,
                stacklevel=stacklevel + 1,
            )


@functools.lru_cache(maxsize=1024)
def _remedy(name: str) -> str | None:
    """Return what to write instead of a keyword that is probably a mistake; None for others."""
    option = "name" if name == "job_name" else name
    if option in OPTIONS:
        return f"To set the option, write pool.options({option}=...).queue(...)"
    parameter = _misspelt_parameter(name)
    return None if parameter is None else f"Did you mean {parameter}=?"


def _misspelt_parameter(name: str) -> str | None:
    """Return the parameter that a keyword is probably a misspelling of, or None."""
    lower = name.lower().strip("_")
    if name in _PARAMETERS:
        return None
    if lower in _PARAMETERS:
        return lower
    for parameter in _PARAMETERS:
        if sorted(lower) == sorted(parameter):  # the same characters in another order
            return parameter
    import difflib

    close = difflib.get_close_matches(lower, _PARAMETERS, 1, _SIMILAR)
    return close[0] if close else _ALIASES.get(lower)
