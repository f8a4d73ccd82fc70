"""The trace events of a pool besides those of its jobs, and its summary."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from bsbpool._core.jobs.job_times import worker_counters
from bsbpool._core.jobs.trace_text import TraceText
from bsbpool.listeners.trace_texts import error_of
from bsbpool.naming import kind_of
from bsbpool.run_context import RunContext
from bsbpool.status import ERRONEOUS
from bsbpool.worker_ranks import worker_of

GAP_NS = 2
"""Between two slices, see `TraceText`."""
MOST_FAILURES = 1000
MOST_LABELS = 100
"""The number of jobs whose labels are in the summary: the longest ones."""
_PHASES = {"scheduling": "queue jobs", "executing": "execute", "closing": "close"}


def names(recording: Any, pid: int) -> Iterator[str]:
    """Yield the events that name the pool and its tracks."""
    context = recording.context
    yield _meta(pid, 0, "process_name", {"name": pool_name(recording.pool, pid)})
    yield _meta(pid, 0, "process_sort_index", {"sort_index": pid})
    for rank in recording.worker_ranks:
        host = f" on {context.run.hosts[rank]}" if context.run.hosts else ""
        yield _meta(pid, rank, "thread_name", {"name": f"rank {rank}{host}"})
        yield _meta(pid, rank, "thread_sort_index", {"sort_index": rank})
    tid = _phase_track(context)
    yield _meta(pid, tid, "thread_name", {"name": "phases of the pool"})
    yield _meta(pid, tid, "thread_sort_index", {"sort_index": -1})


def _phase_track(context: RunContext) -> int:
    return max(1, len(context.run.hosts))


def pool_name(pool: Any, pid: int) -> str:
    """Return the name of a pool: of its phase of a workflow, or its number in the file."""
    return f"pool {pid}" if pool.workflow is None else str(pool.workflow.phase)


def phases(recording: Any, pid: int, origin: int) -> Iterator[str]:
    """Yield a slice for each status of the pool, on a track of their own."""
    for (begin, status), (end, _) in itertools.pairwise(recording.phases):
        yield _dump(
            ph="X",
            cat="pool",
            name=_PHASES[status.value],
            pid=pid,
            tid=_phase_track(recording.context),
            ts=(begin - origin) / 1000,
            dur=(end - begin) / 1000,
        )


def running_jobs(recording: Any, pid: int, origin: int, text: TraceText) -> Iterator[str]:
    """Yield a slice for each job that runs, after those of the jobs that have ended."""
    now, began = recording.phases[-1][0], recording.phases[-2][0]
    for rank, number, seconds in recording.running:
        # The time is when it was sent, or not known: the rank has run it since its last job.
        since = began if seconds is None else now - int(seconds * 1e9)
        begin = min(max(since, text.end_of(rank) + GAP_NS), now)
        job = recording.context.jobs[number]
        yield _dump(
            ph="X",
            cat="unfinished",
            name=kind_of(job),
            pid=pid,
            tid=rank,
            ts=(begin - origin) / 1000,
            dur=(now - begin) / 1000,
            args={"job": number, "status": "running", "label": job.label},
        )


def job_counts(counts: Iterable[tuple[int, int, int]], pid: int) -> Iterator[str]:
    """Yield the counters of the jobs that wait and that run."""
    for ns, waiting, running in counts:
        args = {"waiting": waiting, "running": running}
        yield _dump(ph="C", name="jobs", pid=pid, tid=0, ts=ns / 1000, args=args)


def memory(recording: Any, pid: int, origin: int) -> Iterator[str]:
    """Yield the counters of the memory in MiB."""
    for now, main, workers, largest in recording.memory.samples:
        args = {"main rank": main >> 20}
        if recording.context.run.parallel:
            args |= {"largest worker (peak)": largest >> 20, "all workers (peaks)": workers >> 20}
        ts = (now - origin) / 1000
        yield _dump(ph="C", name="memory in MiB", pid=pid, tid=0, ts=ts, args=args)


def summary(recording: Any, pid: int, origin: int, text: TraceText) -> dict[str, Any]:
    """Return what `bsbpool report` needs of a pool besides its events."""
    pool, context = recording.pool, recording.context
    longest = [context.jobs[number] for number in text.longest(MOST_LABELS)]
    return {
        "pid": pid,
        "name": pool_name(pool, pid),
        "complete": recording.is_complete,
        "parallel": context.run.parallel,
        "jobs": {status.value: n for status, n in pool.counts.items()},
        "phases": [
            [(now - origin) / 1000, status.value if status else "end"]
            for now, status in recording.phases
        ],
        "ranks": [_rank(context, rank, recording.n_ranks) for rank in recording.worker_ranks],
        "clock_offsets": list(context.run.clock_offsets),
        "labels": {str(job.number): job.label for job in longest},
        "failures": _failures(recording),
        "arrows_left_out": text.arrows_left_out,
    }


def _rank(context: RunContext, rank: int, n_ranks: int) -> dict[str, Any]:
    if not context.run.parallel:
        return {"rank": rank}
    counters = worker_counters(context.engine, worker_of(rank, n_ranks))
    return {
        "rank": rank,
        "host": context.run.hosts[rank],
        "peak_memory": counters[3] << 10,
        "available": counters[4],
    }


def _failures(recording: Any) -> list[dict[str, Any]]:
    """Return the first jobs that failed or were aborted."""
    counts = recording.pool.counts
    if not any(counts[status] for status in ERRONEOUS):
        return []
    failed = (job for job in recording.context.jobs if job.status in ERRONEOUS)
    return [
        {
            "job": job.number,
            "label": job.label,
            "status": job.status.value,
            "error": error_of(job),
        }
        for job in itertools.islice(failed, MOST_FAILURES)
    ]


def _meta(pid: int, tid: int, name: str, args: dict[str, Any]) -> str:
    return _dump(ph="M", name=name, pid=pid, tid=tid, ts=0, args=args)


def _dump(**event: Any) -> str:
    return json.dumps(event, separators=(",", ":"))
