"""Reads a trace that `TraceListener` has written."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any


class TraceError(ValueError):
    """A file is not a trace of bsbpool."""


@dataclasses.dataclass(slots=True)
class TracedJob:
    """A job that ran; times are in seconds since the beginning of the trace.

    Attributes
    ----------
    number : int
        The number of the job in its pool.
    kind : str
        The name of its slice: of its function, or the option `name`.
    rank : int
        The rank that ran it; of several ones the first.
    begin, end : float
        When it ran.
    submitted, received : float
        When it was queued, and when the main rank had its result.
    bytes_in, bytes_out : int
        The sizes of its arguments and of its result as sent.
    after : tuple of int
        The jobs that it depended on.
    status : str
        How it ended.
    label : str
        Its call, if the trace has it; else its kind.
    """

    number: int
    kind: str
    rank: int
    begin: float
    end: float
    submitted: float
    received: float
    bytes_in: int
    bytes_out: int
    after: tuple[int, ...]
    status: str
    label: str

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.end - self.begin


@dataclasses.dataclass
class TracedPool:
    """A pool in a trace.

    Attributes
    ----------
    name : str
        Its name.
    jobs : list of TracedJob
        The jobs that ran, in the order of their beginning.
    counts : mapping
        The number of jobs in each status, also of those that did not run.
    executed, closed : float
        When the run began and ended.
    ranks : list of mapping
        The ranks that run jobs: `rank`, and in runs of several processes `host`, `peak_memory` in
        bytes and `available`.
    attempts : list of TracedJob
        The attempts after which jobs ran again.
    running : list of TracedJob
        The jobs that ran when the trace was written, if the run had not ended.
    is_complete : bool
        Whether the run had ended.
    slices : mapping
        By rank, the beginnings and ends of all slices in order.
    queue, memory : list of tuple
        Times, and the values of the counters at them by name.
    failures : list of mapping
        The first jobs that failed: `job`, `label`, `status` and `error`.
    parallel : bool
        Whether other processes ran the jobs.
    """

    name: str
    jobs: list[TracedJob]
    counts: Mapping[str, int]
    executed: float
    closed: float
    ranks: list[Mapping[str, Any]]
    slices: Mapping[int, list[tuple[float, float]]]
    queue: list[tuple[float, Mapping[str, float]]]
    memory: list[tuple[float, Mapping[str, float]]]
    failures: list[Mapping[str, Any]]
    parallel: bool
    attempts: list[TracedJob] = dataclasses.field(default_factory=list)
    running: list[TracedJob] = dataclasses.field(default_factory=list)
    is_complete: bool = True

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return max(0.0, self.closed - self.executed)


@dataclasses.dataclass
class Trace:
    """A trace.

    Attributes
    ----------
    began : float
        When it began, as `time.time` returns it.
    version : str
        The version of bsbpool that has written it.
    pools : list of TracedPool
        Its pools.
    is_complete : bool
        Whether the runs had ended when it was written.
    """

    began: float
    version: str
    pools: list[TracedPool]
    is_complete: bool = True

    @property
    def note(self) -> str:
        """A note about a trace that is not complete; empty for others."""
        if self.is_complete:
            return ""
        if not self.pools:
            return (
                "No run has been written yet: the program has run for about a second only, or was "
                "ended before."
            )
        return (
            "The run had not ended when this was written: the program was still running, or was "
            "ended then. The report has the jobs that had ended, and those that ran then."
        )


def read_trace(path: str) -> Trace:
    """Read a trace.

    Raises
    ------
    TraceError
        If the file is not a trace of bsbpool.
    OSError
        If it cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise TraceError(
                f"{path} is not a complete JSON file ({error}); it was being written, or is "
                "the copy of a part of a trace"
            ) from error
    if not isinstance(content, dict) or "bsbpool" not in content:
        raise TraceError(f"{path} is not a trace of bsbpool's TraceListener")
    details = content["bsbpool"]
    events: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in content["traceEvents"]:
        events[event["pid"]].append(event)
    pools = [_pool(pool, events[pool["pid"]]) for pool in details["pools"]]
    return Trace(details["began"], details["version"], pools, details.get("complete", True))


_OF_JOBS = ("job", "attempt", "unfinished")
"""The categories of slices of one job each."""


def _pool(summary: Mapping[str, Any], events: Iterable[dict[str, Any]]) -> TracedPool:
    jobs: dict[str, list[TracedJob]] = {category: [] for category in _OF_JOBS}
    slices: dict[int, list[tuple[float, float]]] = {rank["rank"]: [] for rank in summary["ranks"]}
    counters: dict[str, list[tuple[float, Mapping[str, float]]]] = {"jobs": [], "memory in MiB": []}
    for event in events:
        if event["ph"] == "C":
            counters[event["name"]].append((event["ts"] * 1e-6, event["args"]))
        elif event["ph"] == "X" and event["cat"] in (*_OF_JOBS, "member"):
            begin = event["ts"] * 1e-6
            slices.setdefault(event["tid"], []).append((begin, begin + event["dur"] * 1e-6))
            if event["cat"] in _OF_JOBS:
                jobs[event["cat"]].append(_job(event, summary["labels"]))
    times = {status: us * 1e-6 for us, status in summary["phases"]}
    closed = times.get("closing", times["end"])
    for of_rank in slices.values():
        of_rank.sort()
    return TracedPool(
        name=summary["name"],
        jobs=jobs["job"],
        attempts=jobs["attempt"],
        running=jobs["unfinished"],
        is_complete=summary.get("complete", True),
        counts=summary["jobs"],
        executed=times.get("executing", closed),
        closed=closed,
        ranks=summary["ranks"],
        slices=slices,
        queue=counters["jobs"],
        memory=counters["memory in MiB"],
        failures=summary["failures"],
        parallel=summary["parallel"],
    )


def _job(event: dict[str, Any], labels: Mapping[str, str]) -> TracedJob:
    args = event["args"]
    begin, end = event["ts"] * 1e-6, (event["ts"] + event["dur"]) * 1e-6
    number = args["job"]
    return TracedJob(
        number=number,
        kind=event["name"],
        rank=event["tid"],
        begin=begin,
        end=end,
        submitted=begin - args.get("wait", 0) * 1e-6,
        received=end + args.get("reply", 0) * 1e-6,
        bytes_in=args.get("in", 0),
        bytes_out=args.get("out", 0),
        after=tuple(args.get("after", ())),
        status=args.get("status", "success"),
        label=args.get("label") or labels.get(str(number)) or f"job {number} '{event['name']}'",
    )
