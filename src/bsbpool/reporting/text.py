"""A report as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from bsbpool.naming import duration_text
from bsbpool.reporting.analysis import Analysis
from bsbpool.reporting.trace import Trace
from bsbpool.reporting.units import share, size

MOST_RANKS = 64
MOST_ROWS = 10
WIDTH = 96


def report_text(trace: Trace, analyses: Sequence[Analysis]) -> str:
    """Return the tables of the pools of a trace."""
    notes = [*textwrap.wrap(trace.note, WIDTH), ""] if trace.note else []
    return "\n".join([*notes, *(line for analysis in analyses for line in _pool(analysis))])


def _pool(analysis: Analysis) -> Iterator[str]:
    pool = analysis.pool
    counts = ", ".join(f"{n:,} {status}" for status, n in pool.counts.items() if n) or "none"
    work, ideal = duration_text(analysis.work), analysis.work / max(1, len(analysis.ranks))
    yield f"{pool.name}"
    yield f"  jobs            {counts}"
    yield f"  run             {duration_text(pool.seconds)} on {len(analysis.ranks):,} ranks"
    yield f"  work            {work}, {share(analysis.used_share)} of the ranks"
    yield f"  work / ranks    {duration_text(ideal)}: no run on so many ranks is shorter"
    yield (
        f"  critical path   {duration_text(analysis.critical_seconds)} in "
        f"{len(analysis.critical_path):,} jobs: no run on any number of ranks is shorter"
    )
    if pool.parallel:
        yield (
            f"  bytes           {size(sum(kind.bytes_in for kind in analysis.kinds))} of arguments,"
            f" {size(sum(kind.bytes_out for kind in analysis.kinds))} of results"
        )
    yield from _table("Kinds of jobs", _kinds(analysis))
    yield from _table("Ranks", _ranks(analysis))
    yield from _table("Jobs waited for", _waiting(analysis))
    yield from _table("Unfinished jobs", _running(analysis))
    yield from _table("Longest jobs", _longest(analysis))
    yield from _table("Failures", _failures(analysis))
    yield ""


def _kinds(analysis: Analysis) -> Iterator[Sequence[str]]:
    yield "name", "jobs", "failed", "total", "median", "longest", "in", "out"
    for kind in analysis.kinds[:MOST_ROWS]:
        yield (
            kind.name,
            f"{kind.jobs:,}",
            f"{kind.failed:,}",
            duration_text(kind.total),
            duration_text(kind.median),
            duration_text(kind.longest),
            size(kind.bytes_in),
            size(kind.bytes_out),
        )


def _ranks(analysis: Analysis) -> Iterator[Sequence[str]]:
    yield "rank", "host", "jobs", "used", "before", "no job", "dispatch", "after", "memory"
    for use in analysis.ranks[:MOST_RANKS]:
        whole = analysis.pool.seconds or 1.0
        yield (
            str(use.rank),
            use.host,
            f"{use.jobs:,}",
            share(use.busy / whole),
            duration_text(use.before),
            duration_text(use.no_job),
            duration_text(use.dispatch),
            duration_text(use.after),
            size(use.peak_memory) if use.peak_memory else "",
        )


def _waiting(analysis: Analysis) -> Iterator[Sequence[str]]:
    yield "cause", "jobs", "total", "mean", "longest"
    n_jobs = max(1, len(analysis.pool.jobs))
    for cause in analysis.waiting:
        yield (
            cause.cause,
            f"{cause.jobs:,}",
            duration_text(cause.total),
            duration_text(cause.total / n_jobs),
            duration_text(cause.longest),
        )


def _running(analysis: Analysis) -> Iterator[Sequence[str]]:
    yield "job", "rank", "has run for"
    for job in analysis.pool.running[:MOST_RANKS]:
        yield job.label, str(job.rank), duration_text(job.seconds)


def _longest(analysis: Analysis) -> Iterator[Sequence[str]]:
    yield "job", "rank", "began", "took"
    for job in analysis.longest[:MOST_ROWS]:
        began = duration_text(max(0.0, job.begin - analysis.pool.executed))
        yield job.label, str(job.rank), began, duration_text(job.seconds)


def _failures(analysis: Analysis) -> Iterator[Sequence[str]]:
    yield "job", "status", "error"
    for failure in analysis.pool.failures[:MOST_ROWS]:
        yield failure["label"], failure["status"], " ".join(failure["error"].split())


def _table(title: str, rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; none if it has only the heading."""
    lines = list(rows)
    if len(lines) < 2:
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [_is_numeric([row[i] for row in lines[1:]]) for i in range(len(widths))]
    yield ""
    yield f"  {title}"
    for row in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        yield f"    {'  '.join(cells)}".rstrip()


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(not cell or cell[0].isdigit() for cell in cells)
