"""Rarely used settings of a pool."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, cast

from bsbpool import arguments, resources
from bsbpool.naming import brief
from bsbpool.options import JobOptions, make_options

if TYPE_CHECKING:
    from bsbpool.journal.options import Journal
    from bsbpool.leaving.rules import LeavingRules

LeaderChoice: TypeAlias = Literal["auto", "node"] | int | None
"""Which ranks relay messages, see `create_job_pool`."""
Deadline: TypeAlias = float | datetime.datetime | Literal["slurm", "pbs"] | None
"""When the run must have ended, see `create_job_pool`."""
GRACE = 20.0
"""The seconds that running jobs have after a signal, by default."""


class Settings(TypedDict, total=False):
    """The settings, as keywords of `create_job_pool`."""

    strict: bool
    timestamps: bool
    options: Mapping[str, Any] | JobOptions | None
    resources: resources.Declaration | None
    prefetch: bool
    main_works: bool | None
    leaders: LeaderChoice
    journal: str | os.PathLike[str] | Journal | None
    deadline: Deadline
    grace: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """Settings that `create_job_pool` takes. Invalid values are refused here.

    Parameters
    ----------
    strict : bool
        Whether a run of one process pickles functions, arguments and results.
    timestamps : bool
        Whether the times, ranks and sizes of jobs are noted.
    options : mapping, optional
        The default options of all jobs, see `JobOptions`.
    resources : mapping, optional
        What the ranks have of each resource.
    prefetch : bool
        Whether quick jobs are sent before the worker has ended the one before. Without, each worker
        has one job, and the next one goes to the worker that was idle longest.
    main_works : bool, optional
        Whether rank 0 runs jobs, too.
    leaders : "auto", "node", int or None
        Which ranks relay the messages between rank 0 and the other ranks.
    journal : str, path-like or Journal, optional
        The file that records the jobs that end, from which a later run goes on.
    deadline : float, datetime, "slurm", "pbs", optional
        When the run must have ended.
    grace : float, optional
        The seconds that running jobs have after a signal of the batch system.

    Raises
    ------
    TypeError, ValueError
        When a value is not allowed.
    """

    strict: bool = False
    timestamps: bool = False
    options: Mapping[str, Any] | JobOptions | None = None
    resources: resources.Declaration | None = None
    prefetch: bool = True
    main_works: bool | None = None
    leaders: LeaderChoice = "auto"
    journal: str | os.PathLike[str] | Journal | None = None
    deadline: Deadline = None
    grace: float | None = None
    leaving: LeavingRules | None = dataclasses.field(init=False, default=None)

    def __post_init__(self) -> None:
        check_leaders(self.leaders, "leaders")
        for name in ("strict", "timestamps", "prefetch"):
            object.__setattr__(self, name, arguments.flag(name, getattr(self, name)))
        if self.main_works is not None:
            object.__setattr__(self, "main_works", arguments.flag("main_works", self.main_works))
        if self.resources is not None:
            resources.check(self.resources)
        if self.journal is not None:
            from bsbpool.journal.options import check_journal  # few pools have one

            object.__setattr__(self, "journal", check_journal(self.journal))
        if self.deadline is not None or self.grace is not None:
            from bsbpool.leaving.deadlines import end_of
            from bsbpool.leaving.rules import LeavingRules

            end = math.inf if self.deadline is None else end_of(self.deadline)
            grace = GRACE if self.grace is None else arguments.seconds("grace", self.grace)
            object.__setattr__(self, "leaving", LeavingRules(end, grace))
        options = self.options
        if options is not None and not isinstance(options, JobOptions):
            if not isinstance(options, Mapping):
                raise TypeError(
                    f"options must be a dictionary of options, got {brief(options)}; use "
                    "options={'retries': 2}"
                )
            object.__setattr__(self, "options", make_options(options, "create_job_pool"))

    @property
    def job_options(self) -> JobOptions | None:
        """The default options; None if there are none."""
        return self.options if isinstance(self.options, JobOptions) else None

    @property
    def journal_options(self) -> Journal | None:
        """The journal; None if there is none."""
        return cast("Journal | None", self.journal)


def check_leaders(value: Any, name: str) -> LeaderChoice:
    """Return the argument `leaders`; raise TypeError or ValueError if it is not allowed."""
    if value is None or value in ("auto", "node"):
        return value  # type: ignore[no-any-return]
    allowed = "must be 'auto', 'node', None, or a number of ranks from 2 for each leader"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{name} {allowed}, got {brief(value)}")
    if isinstance(value, str) or value < 2:
        raise ValueError(f"{name} {allowed}, got {value!r}")
    return value


def merged(
    settings: PoolSettings | None, main_works: bool | None, journal: Any
) -> PoolSettings:
    """Return settings in which the arguments that are not None take the place of others."""
    given = {"main_works": main_works, "journal": journal}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(settings or PoolSettings(), **changes)


def make_settings(given: Settings, strict: str) -> PoolSettings:
    """Return checked settings; `strict` is the value of the environment variable BSBPOOL_STRICT."""
    for name in given:
        if name not in Settings.__annotations__:
            raise TypeError(
                f"create_job_pool() got an unexpected keyword argument {name!r}; further settings "
                f"are {', '.join(Settings.__annotations__)}"
            )
    if strict not in ("", "0", "1"):
        raise ValueError(f"BSBPOOL_STRICT is {strict!r}; set it to 1 or 0, or unset it")
    defaults: Settings = {"strict": strict == "1"}
    return PoolSettings(**(defaults | given))
