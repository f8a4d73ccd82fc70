"""A report as one HTML page, without references to other files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

from bsbpool.naming import duration_text
from bsbpool.reporting import units
from bsbpool.reporting.analysis import Analysis, RankUse
from bsbpool.reporting.timeline import timeline_data
from bsbpool.reporting.trace import Trace

MOST_RANKS = 512
MOST_KINDS = 50
MOST_PATH = 200
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

Row = Sequence[str]


def report_page(trace: Trace, analyses: Sequence[Analysis], title: str) -> str:
    """Return the page."""
    return "\n".join(_page(trace, analyses, title))


def _asset(name: str) -> str:
    return (resources.files("bsbpool.reporting") / name).read_text(encoding="utf-8")


def _page(trace: Trace, analyses: Sequence[Analysis], title: str) -> Iterator[str]:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(trace.began))
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>"
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p>Traced from {began}, with bsbpool {escape(trace.version)}.</p>"
    if trace.note:
        yield f'<p class="note">{trace.note}</p>'
    for number, analysis in enumerate(analyses):
        yield from _pool(analysis, number)
    yield "<footer>Made by <code>bsbpool report</code>.</footer>"
    yield f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"


def _pool(analysis: Analysis, number: int) -> Iterator[str]:
    yield f"<h2>{escape(analysis.pool.name)}</h2>"
    yield from _cards(analysis)
    yield from _timeline(analysis, number)
    yield from _ranks(analysis)
    yield from _waiting(analysis)
    yield from _kinds(analysis)
    yield from _running(analysis)
    yield from _jobs(analysis)
    yield from _failures(analysis)


# ------------------------------------------------------------------ the parts of a pool


def _cards(analysis: Analysis) -> Iterator[str]:
    pool = analysis.pool
    ideal = analysis.work / max(1, len(analysis.ranks))
    cards = [
        (duration_text(pool.seconds), "the run took" + " so far" * (not pool.is_complete), ""),
        (f"{len(pool.jobs):,}", "jobs ran" if pool.is_complete else "jobs had ended", ""),
        (f"{len(analysis.ranks):,}", "ranks ran jobs", ""),
        (units.share(analysis.used_share), "of their time was used", ""),
        (duration_text(ideal), "work for each rank", ""),
        (duration_text(analysis.critical_seconds), "critical path", ""),
    ]
    cards += [
        (f"{pool.counts[status]:,}", status, "bad")
        for status in ("failed", "aborted", "cancelled")
        if pool.counts.get(status)
    ]
    yield '<div class="cards">'
    for value, name, kind in cards:
        yield f'<div class="card {kind}"><b>{value}</b><span>{name}</span></div>'
    yield "</div>"
    yield (
        "<p>With this many ranks, no run can take less time than the work for each rank; with any "
        "number of ranks, none can take less time than the critical path.</p>"
    )


def _timeline(analysis: Analysis, number: int) -> Iterator[str]:
    data = json.dumps(timeline_data(analysis), separators=(",", ":")).replace("<", "\\u003c")
    yield "<h3>Timeline</h3>"
    yield (
        "<p>The wheel zooms, dragging moves, a double click shows all. Red slices are jobs and "
        "attempts that failed; outlined ones are the critical path.</p>"
    )
    yield f'<div class="legend" id="kinds-{number}"></div>'
    yield f'<div class="timeline" data-source="{number}"><canvas></canvas>'
    yield '<div class="tip"></div></div>'
    yield f'<script type="application/json" id="data-{number}">{data}</script>'


def _ranks(analysis: Analysis) -> Iterator[str]:
    yield "<h3>Use of the ranks</h3>"
    yield '<div class="legend"><span><i class="busy"></i>ran jobs</span>'
    yield '<span><i class="dispatch"></i>idle while a job was ready: messages and dispatch</span>'
    yield '<span><i class="no-job"></i>idle while no job was ready: dependencies</span>'
    yield '<span><i class="edge"></i>before the first and after the last job</span></div>'
    head = (
        *("rank", "host", "time of the run", "#used", "#jobs"),
        *("#dispatch", "#no job", "#peak memory"),
    )
    whole = analysis.pool.seconds or 1.0
    shown = analysis.ranks[:MOST_RANKS]
    yield from _table(head, (_rank_row(use, whole) for use in shown), "ranks")
    if len(shown) < len(analysis.ranks):
        yield f"<p>The first {len(shown)} of {len(analysis.ranks):,} ranks.</p>"


def _rank_row(use: RankUse, whole: float) -> Row:
    parts = [
        ("edge", use.before),
        ("busy", use.busy),
        ("dispatch", use.dispatch),
        ("no-job", use.no_job),
    ]
    bar = "".join(
        f'<i class="{kind}" style="width:{100 * seconds / whole:.2f}%"></i>'
        for kind, seconds in parts
    )
    return (
        str(use.rank),
        escape(use.host),
        f'<div class="bar">{bar}</div>',
        units.share(use.busy / whole),
        f"{use.jobs:,}",
        duration_text(use.dispatch),
        duration_text(use.no_job),
        units.size(use.peak_memory) if use.peak_memory else "",
    )


def _waiting(analysis: Analysis) -> Iterator[str]:
    yield "<h3>What jobs waited for</h3>"
    n_jobs = max(1, len(analysis.pool.jobs))
    rows = (
        (
            cause.cause,
            f"{cause.jobs:,}",
            duration_text(cause.total),
            duration_text(cause.total / n_jobs),
            duration_text(cause.longest),
        )
        for cause in analysis.waiting
    )
    head = "cause", "#jobs", "#total", "#mean of all jobs", "#longest"
    yield from _table(head, rows, "waiting")


def _kinds(analysis: Analysis) -> Iterator[str]:
    yield "<h3>Kinds of jobs</h3>"
    rows = (
        (
            escape(kind.name),
            f"{kind.jobs:,}",
            f"{kind.failed:,}",
            duration_text(kind.total),
            duration_text(kind.median),
            duration_text(kind.longest),
            units.size(kind.bytes_in),
            units.size(kind.bytes_out),
        )
        for kind in analysis.kinds[:MOST_KINDS]
    )
    head = "name", "#jobs", "#failed", "#total", "#median", "#longest", "#bytes in", "#bytes out"
    yield from _table(head, rows, "kinds")


def _jobs(analysis: Analysis) -> Iterator[str]:
    executed = analysis.pool.executed
    head = "job", "#rank", "#began", "#took", "#bytes in", "#bytes out"
    titles = (
        ("Longest jobs", "longest", analysis.longest),
        ("Critical path", "critical", analysis.critical_path[:MOST_PATH]),
    )
    for title, name, jobs in titles:
        yield f"<h3>{title}</h3>"
        rows = (
            (
                escape(job.label),
                str(job.rank),
                duration_text(max(0.0, job.begin - executed)),
                duration_text(job.seconds),
                units.size(job.bytes_in),
                units.size(job.bytes_out),
            )
            for job in jobs
        )
        yield from _table(head, rows, name)


def _running(analysis: Analysis) -> Iterator[str]:
    running = analysis.pool.running
    if not running:
        return
    yield "<h3>Unfinished jobs</h3>"
    rows = (
        (escape(job.label), str(job.rank), duration_text(job.seconds))
        for job in running[:MOST_RANKS]
    )
    yield from _table(("job", "#rank", "#has run for"), rows, "running")


def _failures(analysis: Analysis) -> Iterator[str]:
    failures = analysis.pool.failures
    if not failures:
        return
    total = analysis.pool.counts.get("failed", 0) + analysis.pool.counts.get("aborted", 0)
    first = f" (the first {len(failures):,} of {total:,})" if total > len(failures) else ""
    yield f"<h3>Failures{first}</h3>"
    rows = (
        (escape(failure["label"]), failure["status"], escape(failure["error"]))
        for failure in failures
    )
    yield from _table(("job", "status", "error"), rows, "failures", error=2)


def _table(head: Row, rows: Iterator[Row], name: str, error: int = -1) -> Iterator[str]:
    """Yield a table; the columns whose heading begins with ``#`` are aligned to the right."""
    classes = [
        ' class="n"' if title.startswith("#") else ' class="error"' if i == error else ""
        for i, title in enumerate(head)
    ]
    titles = "".join(
        f"<th{kind}>{title.lstrip('#')}</th>" for kind, title in zip(classes, head, strict=True)
    )
    yield f'<div class="scroll"><table id="{name}"><thead><tr>{titles}</tr></thead><tbody>'
    for row in rows:
        cells = "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(classes, row, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"

