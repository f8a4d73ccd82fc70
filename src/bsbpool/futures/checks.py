"""What callers may give, checked before other ranks are involved."""

from __future__ import annotations

import numbers
from typing import Any

from bsbpool.caching.needs import item_ids
from bsbpool.futures.future import PoolFuture

OPTIONS = ("cache_items", "deps", "name", "submitter")


def count(name: str, value: Any) -> int | None:
    """Check a number of things, None for the executor's own choice.

    Raises
    ------
    TypeError, ValueError
        When it is none.
    """
    if value is None:
        return None
    remedy = "give a number from 1 on, or None to leave it to the executor"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: {value!r} is no number of things; {remedy}")
    if value < 1:
        raise ValueError(f"{name} must be greater than 0, not {value!r}; {remedy}")
    return int(value)


def initializer(initializer: Any, initargs: Any) -> tuple[Any, tuple[Any, ...]]:
    """Check an initializer and its arguments."""
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer: {initializer!r} cannot be called; give a function or None")
    if isinstance(initargs, (str, bytes)) or not hasattr(initargs, "__iter__"):
        raise TypeError(f"initargs: {initargs!r} is no list of arguments; for one give (x,)")
    return initializer, tuple(initargs)


def communicator(comm: Any, root: Any) -> int:
    """Check a communicator and the rank of it that submits; return the rank."""
    if comm is not None:
        if not hasattr(comm, "Get_size") and not hasattr(comm, "get_communicator"):
            raise TypeError(f"comm: {comm!r} is no communicator; give one of mpi4py, or None")
        if hasattr(comm, "Get_size"):
            if not comm:
                raise ValueError(
                    "comm: this rank has no part in the communicator (COMM_NULL); make the "
                    "executor only on the ranks that have one"
                )
            if comm.Is_inter():
                raise ValueError(
                    "comm: an intercommunicator is none that an executor can use; give comm.Merge()"
                )
    if isinstance(root, bool) or not isinstance(root, numbers.Integral):
        raise TypeError(f"root: {root!r} is no rank; give the number of the rank that submits")
    return int(root)


def rank(root: int, size: int) -> None:
    """Check that a rank exists."""
    if not 0 <= root < size:
        raise ValueError(f"root: there is no rank {root} among {size}; give one of 0 to {size - 1}")


def options(given: dict[str, Any]) -> dict[str, Any]:
    """Check what is said about calls."""
    for name in given:
        if name not in OPTIONS:
            raise TypeError(f"options: {name!r} is not known; known are {', '.join(OPTIONS)}")
    found = {name: value for name, value in given.items() if value is not None}
    if "cache_items" in found:
        found["cache_items"] = cache_items(found["cache_items"])
    return found


def options_of_all(given: dict[str, Any]) -> dict[str, Any]:
    """Check what is said about all calls of an executor that is being made."""
    if given.get("deps") is not None:
        raise TypeError(
            "deps: an executor that is being made has no futures yet; give them to "
            "executor.options(deps=...)"
        )
    return options(given)


def cache_items(needs: Any) -> list[Any]:
    """Check what calls need of the cache."""
    if not hasattr(needs, "__iter__"):
        raise TypeError(f"cache_items: {needs!r} is no list; for a single item give [item]")
    found = list(needs)
    item_ids(found)
    return found


def dependencies(deps: Any, crew: Any) -> tuple[Any, ...]:
    """Check what calls are to wait for."""
    if not hasattr(deps, "__iter__"):
        raise TypeError(f"deps: {deps!r} is no list of futures; for a single one give [future]")
    found = tuple(deps)
    for dep in found:
        if not isinstance(dep, PoolFuture):
            raise TypeError(f"deps: {dep!r} is no future of this executor; give what it returned")
        if dep._crew is not crew and not dep.done():
            raise ValueError(f"deps: {dep!r} is of another executor; wait for its result first")
    return found
