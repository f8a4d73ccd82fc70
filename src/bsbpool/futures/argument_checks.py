"""Checks of the arguments of executors, made before any other rank is involved."""

from __future__ import annotations

import numbers
from typing import Any

from bsbpool import arguments
from bsbpool._core.jobs.handle import DataRef
from bsbpool.caching.items import item_ids
from bsbpool.futures import call_options
from bsbpool.futures.future import CallRunner, PoolFuture
from bsbpool.naming import brief
from bsbpool.option_checks import CHECKS


def count(name: str, value: Any) -> int | None:
    """Check a positive integer, or None for the default.

    Raises
    ------
    TypeError, ValueError
        When it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a positive integer or None, got {brief(value)}")
    if value < 1:  # programs compare the first words, which are those of the standard library
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
    """Check a communicator and the type of `root`; return `root` as an int."""
    if comm is not None:
        arguments.communicator(comm)
    if isinstance(root, bool) or not isinstance(root, numbers.Integral):
        raise TypeError(f"root must be the number of a rank, got {brief(root)}")
    return int(root)


def rank(root: int, size: int) -> None:
    """Check that a communicator of `size` ranks has the rank `root`."""
    if not 0 <= root < size:
        ranks = "1 rank" if size == 1 else f"{size} ranks"
        raise ValueError(f"root={root} is out of range: the communicator has {ranks}")


def options(
    given: dict[str, Any],
    function: str = "options",
    names: tuple[str, ...] = call_options.NAMES,
) -> dict[str, Any]:
    """Check the options of calls; errors name the `function` that was called with them."""
    for name in given:
        if name not in names:
            raise TypeError(
                f"{function}() got an unexpected argument {name!r}; options of calls are "
                f"{', '.join(names)}"
            )
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in (*call_options.OWN, *call_options.FUTURES):
            checked[name] = CHECKS[name](name, value)
        elif value is not None:
            checked[name] = cache_items(value) if name == "cache_items" else value
    return checked


def default_options(given: dict[str, Any], class_name: str) -> dict[str, Any]:
    """Check the options with which an executor is created, which are those of all its calls."""
    for name in call_options.FUTURES:
        if given.get(name) is not None:
            raise TypeError(
                f"{class_name}() does not take {name}, since there are no futures yet; use "
                f"executor.options({name}=...)"
            )
    return options(given, class_name, call_options.DEFAULT_NAMES)


def cache_items(needs: Any) -> list[Any]:
    """Check the cache items that calls need."""
    checked = arguments.cache_items(needs)
    item_ids(checked)
    return checked


def inputs(found: list[Any], backend: CallRunner) -> tuple[PoolFuture[Any], ...]:
    """Check the futures among the arguments of a call; return them without repetitions."""
    found = [item for item in found if not isinstance(item, DataRef)]
    for item in found:
        if not isinstance(item, PoolFuture):
            raise TypeError(
                f"an argument is or contains {brief(item)}. Only futures of this executor stand "
                "for their results; wait until it has ended and pass its result"
            )
    return dependencies(dict.fromkeys(found), backend)


def dependencies(
    deps: Any, backend: CallRunner, name: str = "deps"
) -> tuple[PoolFuture[Any], ...]:
    """Check the futures that calls depend on; `name` is that of the option."""
    if not hasattr(deps, "__iter__"):
        raise TypeError(f"{name} must be a list of futures, got {brief(deps)}; use {name}=[future]")
    checked = tuple(deps)
    for dep in checked:
        if not isinstance(dep, PoolFuture):
            raise TypeError(
                f"{name} must contain futures as returned by submit(), got {brief(dep)}"
            )
        if not dep.belongs_to(backend) and not dep.done():
            raise ValueError(
                f"{name} contains {brief(dep)}, which is of another executor; wait for its result "
                "instead"
            )
    return checked
