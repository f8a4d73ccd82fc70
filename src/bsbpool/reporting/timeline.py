"""The data that the script of a page draws."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bsbpool.reporting.analysis import Analysis

MOST_CRITICAL = 5000
MOST_LABELS = 1000
ENDED, FAILED_ATTEMPT, UNFINISHED = 0, 1, 2
"""The states of slices in `rows`."""


def timeline_data(analysis: Analysis) -> dict[str, Any]:
    """Return the slices by rank, and the counters.

    Times in `rows` are in ns; the beginnings are differences, so that the numbers are short. The
    others are in microseconds.
    """
    pool = analysis.pool
    others = [*pool.attempts, *pool.running]
    names = [kind.name for kind in analysis.kinds]
    names += dict.fromkeys(job.kind for job in others if job.kind not in names)
    begins = [job.begin for job in (*pool.jobs[:1], *others)]
    first = min([pool.executed, *begins])
    last = max([pool.closed, *(job.end for job in pool.jobs)])
    shown = analysis.longest + pool.running + [job for job in pool.jobs if job.status != "success"]
    return {
        "from": first * 1e6,
        "to": last * 1e6,
        "kinds": names,
        "rows": _rows(analysis, {name: i for i, name in enumerate(names)}),
        "failed": [job.number for job in pool.jobs if job.status != "success"],
        "critical": [job.number for job in analysis.critical_path[:MOST_CRITICAL]],
        "labels": {job.number: job.label for job in shown[:MOST_LABELS]},
        "charts": [_chart("jobs", pool.queue), _chart("MiB", pool.memory)],
    }


def _rows(analysis: Analysis, kinds: Mapping[str, int]) -> list[dict[str, Any]]:
    columns = "begin", "length", "kind", "job", "wait", "bytes", "state"
    rows: dict[int, dict[str, Any]] = {
        use.rank: {"rank": use.rank, **{name: [] for name in columns}} for use in analysis.ranks
    }
    last: dict[int, int] = defaultdict(int)
    pool = analysis.pool
    slices = list(zip(pool.jobs, analysis.ready, itertools.repeat(ENDED)))
    slices += ((job, job.begin, FAILED_ATTEMPT) for job in pool.attempts)
    slices += ((job, job.begin, UNFINISHED) for job in pool.running)
    slices.sort(key=lambda each: each[0].begin)
    for job, ready, state in slices:
        begin = round(job.begin * 1e9)
        values = (
            begin - last[job.rank],
            round(job.seconds * 1e9),
            kinds[job.kind],
            job.number,
            round((job.begin - ready) * 1e9),
            job.bytes_in + job.bytes_out,
            state,
        )
        row = rows[job.rank]
        for name, value in zip(columns, values, strict=True):
            row[name].append(value)
        last[job.rank] = begin
    return list(rows.values())


def _chart(name: str, samples: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, Any]:
    lines = list(samples[0][1]) if samples else []
    return {
        "name": name,
        "times": [round(time * 1e6, 1) for time, _ in samples],
        "lines": [{"name": line, "values": [args[line] for _, args in samples]} for line in lines],
    }
