"""The lines of a display: the present counts, and the summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bsbpool.listeners.counting import CountingListener
from bsbpool.listeners.kinds import KindCounts
from bsbpool.listeners.rates import clock_text, rate_text
from bsbpool.naming import shortened

MOST_ROWS = 12
"""Kinds of which a display has a row."""


def counts_text(counts: KindCounts) -> str:
    """Describe counts: succeeded, running, and ended without success."""
    parts = [f"{counts.succeeded}/{counts.total} jobs succeeded", states_text(counts)]
    return ", ".join(filter(None, parts))


def states_text(counts: KindCounts) -> str:
    """Describe the counts of jobs that run, or have ended without success."""
    states = {
        "running": counts.running,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "aborted": counts.aborted,
    }
    return ", ".join(f"{n} {state}" for state, n in states.items() if n)


def progress_line(listener: CountingListener) -> str:
    """Return a line about the present progress of a listener."""
    total, rate = listener.kinds.sum(), listener.speeds.all
    elapsed = clock_text(time.monotonic() - listener.began)
    parts = [counts_text(total), *filter(None, [elapsed, rate_text(rate.per_second)])]
    if total.left:
        parts.append(f"ETA {clock_text(rate.seconds_left(total.left))}")
    return f"{heading(listener)}{', '.join(parts)}"


def summary_line(listener: CountingListener, seconds: float) -> str:
    """Return a line about a run that has ended after some seconds."""
    total = listener.kinds.sum()
    took = f"{seconds:.1f} s" if seconds < 60 else clock_text(seconds)
    line = f"{heading(listener)}{counts_text(total)} in {took}"
    if total.done and seconds > 0:
        line += f", {rate_text(total.done / seconds)}"
    n_workers, busy = listener.workers()
    if busy is not None:
        line += f"; {n_workers} worker{'s' * (n_workers != 1)} busy {busy:.0%} of the time"
    return line


def summary_rows(listener: CountingListener) -> list[str]:
    """Return a line for each kind of job; no line if there is only one kind."""
    kinds = rows_of(listener.kinds.all(), MOST_ROWS)
    if len(kinds) < 2:
        return []
    width = max(len(kind.name) for kind in kinds)
    return [f"  {shortened(kind.name):<{width}}  {counts_text(kind)}" for kind in kinds]


def further_failures(listener: CountingListener) -> str:
    """Return a line about failures that were not shown; empty if there are none."""
    n = listener.n_further_failures
    return f"{n} further failure{'s' * (n != 1)} not shown" if n else ""


def heading(listener: CountingListener) -> str:
    """Return the begin of a line: the name of the package, and the phase if there is one."""
    return f"bsbpool: {listener.phase}: " if listener.phase else "bsbpool: "


def rows_of(kinds: Iterable[KindCounts], most: int) -> list[KindCounts]:
    """Return at most so many counts: those of unfinished kinds first, the last one of all others.

    Parameters
    ----------
    kinds : iterable of KindCounts
        The counts of all kinds.
    most : int
        The number of rows.
    """
    kinds = list(kinds)
    if len(kinds) <= most:
        return kinds
    ranked = sorted(kinds, key=lambda kind: (kind.running == 0, kind.left == 0))
    shown = {id(kind) for kind in ranked[: most - 1]}
    rest = KindCounts(f"{len(kinds) - most + 1} others")
    for kind in ranked[most - 1 :]:
        rest += kind
    return [*(kind for kind in kinds if id(kind) in shown), rest]
