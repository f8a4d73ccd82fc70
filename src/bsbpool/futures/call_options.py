"""The options of calls: those of jobs, with futures in place of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from bsbpool._core.jobs.handle import OptionedFunction
from bsbpool.futures.future import PoolFuture
from bsbpool.options import CommonOptions, JobOptions, make_options


class DefaultOptions(CommonOptions, total=False):
    """The options that an executor can have for all its calls."""

    cache_items: list[Any] | None
    submitter: object


class CallOptions(DefaultOptions, total=False):
    """The options of calls, see `PoolExecutor.options`."""

    deps: Iterable[Future[Any]] | None
    after_any: Iterable[Future[Any]]
    on_failure: Iterable[Future[Any]]
    on_end: Iterable[Future[Any]]
    follow: Iterable[Future[Any]]
    resources: Mapping[str, int | float | str]


FUTURES = ("deps", "after_any", "on_failure", "on_end", "follow")
"""The options that name futures."""
OWN = ("cache_items", "submitter", "name", "deps")
"""The options with which a call is still a plain job."""
DEFAULT_NAMES = tuple(sorted(DefaultOptions.__annotations__))
NAMES = tuple(sorted(CallOptions.__annotations__))


class Special(NamedTuple):
    """The options of a call that is not a plain job.

    Attributes
    ----------
    options : JobOptions
        The options that name no futures.
    futures : mapping of str to tuple of PoolFuture
        The futures that `after_any`, `on_failure`, `on_end` and `follow` name.
    """

    options: JobOptions
    futures: Mapping[str, tuple[PoolFuture[Any], ...]]


class CallSettings(NamedTuple):
    """The options of an executor or a view, in the parts that submitting a call needs.

    Attributes
    ----------
    deps : tuple of PoolFuture
        The futures that must succeed first.
    cache_items : list or None
        The cache items that the calls need.
    description : dict
        The `name` and the `submitter`, if they were given.
    special : Special or None
        Further options; None if there are none.
    """

    deps: tuple[PoolFuture[Any], ...]
    cache_items: Any
    description: dict[str, Any]
    special: Special | None


def settings_of(options: Mapping[str, Any]) -> CallSettings:
    """Return checked options in parts."""
    description = {key: options[key] for key in ("name", "submitter") if key in options}
    futures = {key: options[key] for key in FUTURES[1:] if options.get(key)}
    others = {key: value for key, value in options.items() if key not in (*OWN, *FUTURES)}
    special = None
    if futures or others:
        if "name" in options:
            others["name"] = options["name"]
        special = Special(make_options(others), futures)
    return CallSettings(options.get("deps", ()), options.get("cache_items"), description, special)


def of_function(f: OptionedFunction) -> dict[str, Any]:
    """Return the options of a function that `bsbpool.job` has decorated."""
    return {name: getattr(f.options, name) for name in f.options.given if name in NAMES}
