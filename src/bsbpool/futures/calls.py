"""The calls of executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bsbpool.futures.call_options import Special
from bsbpool.futures.future import PoolFuture


class Call(NamedTuple):
    """A call that was submitted to an executor.

    Attributes
    ----------
    future : PoolFuture
        Its future.
    f, args, kwargs : callable, tuple, dict
        The function and its arguments.
    deps : tuple of PoolFuture
        The futures that must succeed first.
    cache_items : list or None
        The cache items that it needs.
    special : Special or None
        Further options.
    stream : int
        The number of the call among those with further options. Random numbers depend on it, so
        that they do not depend on the pool and the number of ranks.
    """

    future: PoolFuture[Any]
    f: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deps: tuple[PoolFuture[Any], ...] = ()
    cache_items: Any = None
    special: Special | None = None
    stream: int = 0


FailedCalls = list[tuple[PoolFuture[Any], BaseException]]
"""Calls that cannot run, with their errors."""


def settle_failed(failed: FailedCalls) -> None:
    """Set the errors of calls that cannot run."""
    for future, error in failed:
        future.settle(error)
