"""The options of jobs."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from bsbpool._core.jobs.handle import Handle
from bsbpool.option_checks import CHECKS, RetryOn


class CommonOptions(TypedDict, total=False):
    """The options that jobs of pools and calls of executors have; see `JobOptions`."""

    name: str | None
    targets: Iterable[int] | None
    follow_grace: float | None
    priority: int
    retries: int
    retry_on: RetryOn
    retry_elsewhere: bool
    retries_if_lost: int
    timeout: float | None
    dependency_timeout: float | None
    capture_output: bool
    seed: int | None
    requires: Iterable[Callable[[], object]]
    ranks: int
    gather: bool
    placement: Literal["any", "node"]
    key: str | None
    key_version: int | str | None
    journaled: bool


class OptionValues(CommonOptions, total=False):
    """The options of jobs, as keywords; see `JobOptions`."""

    deps: Iterable[Handle]
    after_any: Iterable[Handle]
    on_failure: Iterable[Handle]
    on_end: Iterable[Handle]
    follow: Iterable[Handle]
    resources: Mapping[str, int | float | str]
    keep: Literal["main", "worker"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The options of a job. Invalid values are refused here.

    Parameters
    ----------
    name : str, optional
        The name of the job in messages, progress and traces.
    deps : iterable of Job
        Jobs that must succeed first.
    after_any : iterable of Job
        Jobs of which one must succeed first.
    on_failure : iterable of Job
        Jobs of which one must fail first.
    on_end : iterable of Job
        Jobs that must end first, however they end.
    targets : iterable of int, optional
        The ranks that may run the job.
    follow : iterable of Job
        Jobs on whose rank this one runs. They must have started before it; name them in `deps` or
        `on_end`, too.
    follow_grace : float, optional
        Seconds that the job waits for those ranks; after that any rank may run it. By default only
        those ranks may.
    priority : int
        Jobs with a higher number run first. Jobs without the option have 0.
    retries : int
        How often the job runs again after it has raised an error.
    retry_on : exception class, tuple of them, or callable
        The errors after which it runs again; a function is called with the error.
    retry_elsewhere : bool
        Whether it then runs on another rank, if there is one.
    retries_if_lost : int
        How often the job runs again after the rank that ran it has died.
    timeout : float, optional
        Seconds that each attempt may run.
    dependency_timeout : float, optional
        Seconds from the start of the run that the job waits for its dependencies.
    resources : mapping of str to number or str
        The amounts that the job occupies while it runs, such as ``{"gpu": 1, "mem": "4G"}``.
    capture_output : bool
        Whether what the job writes to stdout and stderr is sent to the main rank.
    seed : int, optional
        The seed of ``current_job().rng``.
    requires : iterable of callable
        Functions without parameters that are called before the job, on the rank that has been
        chosen for it. If one raises `UnmetDependency`, the job goes to another rank.
    ranks : int
        How many ranks run the job at one time, each with the same arguments;
        ``current_job().comm`` is their communicator. Excludes `resources`, `requires`, `follow` and
        ``keep="worker"``.
    gather : bool
        Whether the result is the list of the results of these ranks, in the order of the
        communicator. Otherwise it is that of the first one.
    placement : {"any", "node"}
        With "node" the ranks are on one node, if one has so many.
    keep : {"main", "worker"}
        Where a large result is kept. With "worker" the main rank does not receive it; other jobs
        can have it as an argument.
    key : str, optional
        The key of the job in the journal of the pool, instead of one that is made from its
        function, arguments and dependencies. Each job needs another one.
    key_version : int or str, optional
        Part of the key that is made: another value makes another job.
    journaled : bool
        Whether the journal of the pool, if it has one, records the job. Otherwise it runs in each
        run of the program, as do jobs with ``keep="worker"``.
    given : frozenset of str
        For internal use: the names of the options that were given to `updated`.

    Raises
    ------
    TypeError, ValueError
        When a value is not allowed.
    """

    name: str | None = None
    deps: tuple[Handle, ...] = ()
    after_any: tuple[Handle, ...] = ()
    on_failure: tuple[Handle, ...] = ()
    on_end: tuple[Handle, ...] = ()
    targets: tuple[int, ...] | None = None
    follow: tuple[Handle, ...] = ()
    follow_grace: float | None = None
    priority: int = 0
    retries: int = 0
    retry_on: RetryOn = Exception
    retry_elsewhere: bool = False
    retries_if_lost: int = 0
    timeout: float | None = None
    dependency_timeout: float | None = None
    resources: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)
    capture_output: bool = False
    seed: int | None = None
    requires: tuple[Callable[[], object], ...] = ()
    ranks: int = 1
    gather: bool = False
    placement: Literal["any", "node"] = "any"
    keep: Literal["main", "worker"] = "main"
    key: str | None = None
    key_version: int | str | None = None
    journaled: bool = True

    given: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    @property
    def for_workers(self) -> bool:
        """Whether options matter where the job runs."""
        return bool(
            self.name is not None
            or self.timeout is not None
            or self.capture_output
            or self.seed is not None
            or self.resources
            or self.requires
            or self.ranks > 1
            or self.gather
        )

    @functools.cached_property
    def is_placement(self) -> bool:
        """Whether only `targets`, `follow`, `follow_grace`, `priority` or keys were given."""
        keys = {"key", "key_version", "journaled"}
        return self.given <= {"targets", "follow", "follow_grace", "priority", *keys}

    @property
    def names_jobs(self) -> bool:
        """Whether an option names other jobs."""
        return bool(self.deps or self.after_any or self.on_failure or self.on_end or self.follow)

    def over(self, defaults: JobOptions | None) -> JobOptions:
        """Return these options; those that were not given have the values of `defaults`."""
        if defaults is None:
            return self
        return defaults.updated({name: getattr(self, name) for name in self.given})

    def updated(self, values: Mapping[str, Any], function: str = "options") -> JobOptions:
        """Return these options with some of them replaced.

        Raises
        ------
        TypeError
            When `values` has an unknown name; the error names `function`.
        """
        for name in values:
            if name not in CHECKS:
                raise TypeError(_unknown(name, function))
        return dataclasses.replace(self, **values, given=self.given | values.keys())


def make_options(values: Mapping[str, Any], function: str = "options") -> JobOptions:
    """Return checked options; errors about unknown names name the `function`."""
    return JobOptions().updated(values, function)


def _unknown(name: str, function: str) -> str:
    close = difflib.get_close_matches(name, CHECKS, 1, 0.6)
    hint = f"; did you mean {close[0]}=?" if close else ""
    return (
        f"{function}() got an unexpected option {name!r}{hint} The options are "
        f"{', '.join(sorted(CHECKS))}"
    )
