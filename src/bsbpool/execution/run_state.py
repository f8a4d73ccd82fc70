"""Lines about what a run does at present, for the signal of `state_dump`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.job_times import worker_counters
from bsbpool.naming import duration_text, job_text
from bsbpool.run_context import RunContext
from bsbpool.status import JOB_STATUSES
from bsbpool.worker_ranks import rank_of

MOST_ROWS = 100
"""The number of workers in the table; those that have had their jobs for the longest time."""


class Row(NamedTuple):
    """A line of the table of workers."""

    rank: int
    host: str
    job: str
    seconds: float
    waiting: int


def counts_text(context: RunContext) -> str:
    """Return the number of jobs in each status that any job has."""
    counts = zip(JOB_STATUSES, context.engine.counts(), strict=True)
    numbers = ", ".join(f"{n:,} {status.value}" for status, n in counts if n)
    return f"{len(context.jobs):,} jobs" + (f": {numbers}" if numbers else "")


def main_lines(
    context: RunContext, channel: Channel, n_workers: int, busy_seconds: Callable[[int], float]
) -> Iterator[str]:
    """Return lines about a run on its main rank, with a table of the workers.

    Parameters
    ----------
    context : RunContext
        The run.
    channel : Channel
        Knows which ranks are lost or inside of a job of an earlier run.
    n_workers : int
        The number of workers.
    busy_seconds : callable
        Returns for how long a worker has had its present job.
    """
    yield from head_lines(context)
    if context.pool.scheduling:
        yield "it waits for threads that queue jobs, and for the workers"
    elif context.engine.unfinished:
        yield "it waits for the workers"
    rows = [_row(context, channel, worker, busy_seconds) for worker in range(n_workers)]
    busy = [row for row in rows if row.job]
    yield f"{len(busy)} of {n_workers} workers have a job:"
    rows.sort(key=lambda row: (-row.seconds, row.rank))
    for row in rows[:MOST_ROWS]:
        yield f"  {_row_text(row)}"
    if len(rows) > MOST_ROWS:
        yield f"  ... ({len(rows) - MOST_ROWS:,} more)"


def head_lines(context: RunContext) -> Iterator[str]:
    """Return lines about the pool of a run."""
    took = duration_text(time.monotonic() - context.began)
    yield f"it has been executing pool {context.pool_id} for {took}: {counts_text(context)}"


def label_of(context: RunContext, number: int) -> str:
    """Return the text of a job; without its call if it was cancelled and released."""
    job = context.jobs[number]
    return job.label if job.in_pool else job_text(number)


def _row(
    context: RunContext, channel: Channel, worker: int, busy_seconds: Callable[[int], float]
) -> Row:
    rank = rank_of(worker, context.comm.get_size())
    number = context.engine.running_job(worker)
    in_queue = worker_counters(context.engine, worker)[0]
    host = context.run.hosts[rank] if context.run.hosts else ""
    if rank in channel.lost:
        return Row(rank, host, "", 0.0, -1)
    if number is None:
        return Row(rank, host, "", 0.0, -2 if rank in channel.away else 0)
    return Row(rank, host, label_of(context, number), busy_seconds(worker), max(in_queue - 1, 0))


def _row_text(row: Row) -> str:
    place = f"rank {row.rank} on {row.host}" if row.host else f"rank {row.rank}"
    if not row.job:
        state = {-1: "has died", -2: "is inside of a job of an earlier run"}
        return f"{place} {state.get(row.waiting, 'has no job')}"
    more = f"; {row.waiting} more wait there" if row.waiting else ""
    return f"{place} has been running {row.job} for {duration_text(row.seconds)}{more}"
