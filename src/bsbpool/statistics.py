"""Numbers about a pool and its run."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from bsbpool._core.jobs.job_times import worker_counters
from bsbpool.jobs import Job
from bsbpool.run_context import RunContext
from bsbpool.status import FINISHED, JobStatus
from bsbpool.worker_ranks import rank_of, worker_of


@dataclasses.dataclass(frozen=True)
class WorkerStatistics:
    """Numbers about a worker.

    Attributes
    ----------
    rank : int
        The rank.
    host : str
        Its host.
    queued : int
        Jobs that were sent to it and have not begun.
    running : int
        1 while it runs a job, else 0.
    done : int
        Jobs that it has run to their end.
    busy_seconds : float
        The sum of their run times.
    busy_share : float
        `busy_seconds` as a share of the run so far.
    peak_memory : int
        Its largest resident memory so far in bytes; 0 before its first report.
    available : bool
        Whether it gets jobs: it is neither lost nor inside a job of an earlier run.
    """

    rank: int
    host: str
    queued: int
    running: int
    done: int
    busy_seconds: float
    busy_share: float
    peak_memory: int
    available: bool


@dataclasses.dataclass(frozen=True)
class PoolStatistics:
    """Numbers about a pool at one time; see `JobPool.statistics`.

    Attributes
    ----------
    jobs : mapping of JobStatus to int
        The number of jobs in each status.
    names : mapping of str to (mapping of JobStatus to int)
        The same by the names of the jobs; only of jobs that were queued with the option `name`.
    workers : tuple of WorkerStatistics
        The workers; empty in a run of one process.
    bytes_in, bytes_out : int or None
        The arguments that were sent and the results that were received; None without
        ``timestamps=True``.
    serial_seconds : float
        The sum of the run times of all jobs: about what a run of one process takes. 0 in a run of
        one process without ``timestamps=True``.
    wall_seconds : float
        The duration of the run so far.
    speedup : float
        `serial_seconds` divided by `wall_seconds`; 0 before the run.
    efficiency : float
        The speedup for each worker.
    eta_seconds : float or None
        The estimated time until the end, if the other jobs take as long as those that have ended;
        None before the first has.
    clock_offsets : mapping of int to float
        By rank, the estimated difference of its clock from the main rank's in seconds, which was
        added to its times: 0 on the same host. Estimates are too large by the shortest time in
        which a job ran and its result arrived.
    """

    jobs: Mapping[JobStatus, int]
    names: Mapping[str, Mapping[JobStatus, int]]
    workers: tuple[WorkerStatistics, ...]
    bytes_in: int | None
    bytes_out: int | None
    serial_seconds: float
    wall_seconds: float
    speedup: float
    efficiency: float
    eta_seconds: float | None
    clock_offsets: Mapping[int, float]


def statistics_of(context: RunContext, counts: Mapping[JobStatus, int]) -> PoolStatistics:
    """Return the numbers of the pool of a run context.

    Parameters
    ----------
    context : RunContext
        Of the pool.
    counts : mapping of JobStatus to int
        The number of jobs in each status.
    """
    wall = _wall_seconds(context)
    ranks = context.worker_ranks if context.run.parallel else ()
    workers = tuple(_worker(context, rank, wall) for rank in ranks)
    entries = _entries(context)
    serial = sum(worker.busy_seconds for worker in workers)
    if not workers and entries is not None:
        serial = sum(entry[3] for entry in entries) * 1e-9
    speedup = serial / wall if wall else 0.0
    finished = sum(counts[status] for status in FINISHED)
    left = sum(counts.values()) - finished
    return PoolStatistics(
        jobs=MappingProxyType(dict(counts)),
        names=_by_name(context.jobs),
        workers=workers,
        bytes_in=None if entries is None else sum(entry[4] for entry in entries),
        bytes_out=None if entries is None else sum(entry[5] for entry in entries),
        serial_seconds=serial,
        wall_seconds=wall,
        speedup=speedup,
        efficiency=speedup / max(1, len(workers)),
        eta_seconds=wall / finished * left if finished and wall else None,
        clock_offsets=MappingProxyType(_clock_offsets(context)),
    )


class Load:
    """The load of the workers of a run. Only making it calls MPI, so any thread may call it.

    Parameters
    ----------
    context : RunContext
        Of the pool. The attribute may be replaced by that of a later pool on the same ranks.
    """

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._workers: list[int] = []
        if context.run.parallel:
            n_ranks = context.comm.get_size()
            self._workers = [worker_of(rank, n_ranks) for rank in context.worker_ranks]

    def __call__(self) -> tuple[int, float | None]:
        """Return the number of workers, and the share of the run for which they were busy.

        The share is None in a run of one process. Jobs that run count when they have ended.
        """
        workers = self._workers
        if not workers:
            return 1, None
        engine, wall = self.context.engine, _wall_seconds(self.context)
        busy = sum(worker_counters(engine, worker)[2] for worker in workers) * 1e-9
        return len(workers), min(1.0, busy / wall / len(workers)) if wall else None


def _clock_offsets(context: RunContext) -> dict[int, float]:
    n_ranks = context.comm.get_size()
    offsets = enumerate(context.run.clock_offsets)
    return {rank_of(worker, n_ranks): offset for worker, offset in offsets}


def _wall_seconds(context: RunContext) -> float:
    if not context.began:
        return 0.0
    return (time.monotonic() if context.executing_threads else context.ended) - context.began


def _worker(context: RunContext, rank: int, wall: float) -> WorkerStatistics:
    counters = worker_counters(context.engine, worker_of(rank, context.comm.get_size()))
    in_flight, done, busy_ns, peak_kib, available = counters
    return WorkerStatistics(
        rank=rank,
        host=context.run.hosts[rank],
        queued=max(0, in_flight - 1),
        running=min(1, in_flight),
        done=done,
        busy_seconds=busy_ns * 1e-9,
        busy_share=busy_ns * 1e-9 / wall if wall else 0.0,
        peak_memory=peak_kib << 10,
        available=available,
    )


def _entries(context: RunContext) -> list[Any] | None:
    if context.times is None:
        return None
    return [context.times.entry(number) for number in range(len(context.jobs))]


def _by_name(jobs: Iterable[Job[Any]]) -> Mapping[str, Mapping[JobStatus, int]]:
    found: dict[str, Counter[JobStatus]] = {}
    for job in list(jobs):
        if job.options is not None and job.options.name is not None:
            found.setdefault(job.options.name, Counter())[job.status] += 1
    return MappingProxyType({name: MappingProxyType(dict(n)) for name, n in found.items()})


def to_dataframe(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return a table of the metadata of jobs, one row each.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame([dict(row) for row in rows]).set_index("number")
