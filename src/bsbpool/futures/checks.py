"""What callers may give, checked before other ranks are involved."""

from __future__ import annotations

import numbers
from typing import Any

from bsbpool import arguments
from bsbpool.caching.requirements import item_ids
from bsbpool.futures.future import PoolFuture
from bsbpool.naming import brief

OPTIONS = ("cache_items", "deps", "name", "submitter")


def count(name: str, value: Any) -> int | None:
    """Check a positive integer, or None for the executor's own choice.

    Raises
    ------
    TypeError, ValueError
        When it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a positive integer or None, got {brief(value)}")
    if value < 1:  # the first words are those of the standard library, which programs compare
        raise ValueError(f"{name} must be greater than 0, or None, got {brief(value)}")
    return int(value)


def initializer(initializer: Any, initargs: Any) -> tuple[Any, tuple[Any, ...]]:
    """Check an initializer and its arguments."""
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be callable or None, got {brief(initializer)}")
    if isinstance(initargs, (str, bytes)) or not hasattr(initargs, "__iter__"):
        raise TypeError(
            f"initargs must be a tuple of arguments, got {brief(initargs)}; use (x,) for a single "
            "argument"
        )
    return initializer, tuple(initargs)


def communicator(comm: Any, root: Any) -> int:
    """Check a communicator and the rank of it that submits; return the rank."""
    if comm is not None:
        arguments.communicator(comm)
    if isinstance(root, bool) or not isinstance(root, numbers.Integral):
        raise TypeError(f"root must be the number of a rank, got {brief(root)}")
    return int(root)


def rank(root: int, size: int) -> None:
    """Check that a rank exists."""
    if not 0 <= root < size:
        ranks = "1 rank" if size == 1 else f"{size} ranks"
        raise ValueError(f"root={root} is out of range: the communicator has {ranks}")


def options(given: dict[str, Any], of: str = "options") -> dict[str, Any]:
    """Check the options of calls that were given to the function `of`."""
    for name in given:
        if name not in OPTIONS:
            raise TypeError(
                f"{of}() got an unexpected argument {name!r}; options of calls are "
                f"{', '.join(OPTIONS)}"
            )
    found = {name: value for name, value in given.items() if value is not None}
    if "cache_items" in found:
        found["cache_items"] = cache_items(found["cache_items"])
    return found


def options_of_all(given: dict[str, Any], of: str) -> dict[str, Any]:
    """Check the options of all calls of an executor that is being made, of the class `of`."""
    if given.get("deps") is not None:
        raise TypeError(
            f"{of}() does not take deps, since there are no futures yet; use "
            "executor.options(deps=...)"
        )
    return options(given, of)


def cache_items(needs: Any) -> list[Any]:
    """Check what calls need of the cache."""
    found = arguments.cache_items(needs)
    item_ids(found)
    return found


def dependencies(deps: Any, backend: Any) -> tuple[Any, ...]:
    """Check what calls are to wait for."""
    if not hasattr(deps, "__iter__"):
        raise TypeError(f"deps must be a list of futures, got {brief(deps)}; use deps=[future]")
    found = tuple(deps)
    for dep in found:
        if not isinstance(dep, PoolFuture):
            raise TypeError(
                f"deps must contain futures as returned by submit(), got {brief(dep)}"
            )
        if dep._backend is not backend and not dep.done():
            raise ValueError(
                f"deps contains {brief(dep)}, which is of another executor; wait for its result "
                "instead"
            )
    return found
