"""What a trace says about a run: use of the ranks, waiting by cause, critical path, kinds."""

from __future__ import annotations

import dataclasses
import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from bsbpool.reporting.trace import TracedJob, TracedPool


@dataclasses.dataclass
class RankUse:
    """How a rank spent the time of the run, in seconds.

    Attributes
    ----------
    rank : int
        The rank.
    host : str
        Its host; empty if only one process took part.
    jobs : int
        The number of its slices.
    busy : float
        While it ran jobs.
    before, after : float
        Before its first job, and after its last one.
    no_job : float
        Between its jobs, while no job was ready: all others waited for dependencies, or ran.
    dispatch : float
        Between its jobs, while a job was ready.
    peak_memory : int
        Its largest resident memory in bytes; 0 if unknown.
    """

    rank: int
    host: str
    jobs: int
    busy: float
    before: float
    no_job: float
    dispatch: float
    after: float
    peak_memory: int


@dataclasses.dataclass
class Waiting:
    """How long jobs waited for one cause.

    Attributes
    ----------
    cause : str
        The cause.
    total, longest : float
        Seconds, of all jobs together and of one.
    jobs : int
        The number of jobs that waited for it.
    """

    cause: str
    total: float = 0.0
    longest: float = 0.0
    jobs: int = 0

    def add(self, seconds: float) -> None:
        """Count the waiting of a job."""
        if seconds > 0:
            self.total += seconds
            self.longest = max(self.longest, seconds)
            self.jobs += 1


@dataclasses.dataclass
class Kind:
    """Jobs of one name.

    Attributes
    ----------
    name : str
        The name.
    jobs, failed : int
        Their number, and how many of them failed.
    total, median, longest : float
        Their run times in seconds.
    bytes_in, bytes_out : int
        The sizes of their arguments and results.
    """

    name: str
    jobs: int
    failed: int
    total: float
    median: float
    longest: float
    bytes_in: int
    bytes_out: int


@dataclasses.dataclass
class Analysis:
    """The figures of a report about a pool.

    Attributes
    ----------
    pool : TracedPool
        The pool.
    ready : list of float
        When each of its jobs could begin.
    ranks : list of RankUse
        The ranks that run jobs.
    waiting : list of Waiting
        By cause.
    kinds : list of Kind
        The kinds of jobs, that with the longest total time first.
    critical_path : list of TracedJob
        The chain of dependencies with the longest total run time.
    longest : list of TracedJob
        The jobs with the longest run times.
    """

    pool: TracedPool
    ready: list[float]
    ranks: list[RankUse]
    waiting: list[Waiting]
    kinds: list[Kind]
    critical_path: list[TracedJob]
    longest: list[TracedJob]

    @property
    def work(self) -> float:
        """The time in which ranks ran jobs, in seconds."""
        return sum(rank.busy for rank in self.ranks)

    @property
    def used_share(self) -> float:
        """The share of the time of all ranks in which they ran jobs."""
        whole = self.pool.seconds * len(self.ranks)
        return self.work / whole if whole else 0.0

    @property
    def critical_seconds(self) -> float:
        """The run times on the critical path."""
        return sum(job.seconds for job in self.critical_path)


MOST_JOBS = 20


def analyze(pool: TracedPool) -> Analysis:
    """Return the figures of a report about a pool."""
    ready = ready_times(pool)
    return Analysis(
        pool=pool,
        ready=ready,
        ranks=_ranks(pool, ready),
        waiting=_waiting(pool, ready),
        kinds=_kinds(pool.jobs),
        critical_path=critical_path(pool.jobs),
        longest=sorted(pool.jobs, key=lambda job: -job.seconds)[:MOST_JOBS],
    )


def ready_times(pool: TracedPool) -> list[float]:
    """Return when each job could begin: the run had begun and its dependencies had ended."""
    received = {job.number: job.received for job in pool.jobs}
    times = []
    for job in pool.jobs:
        since = max(job.submitted, pool.executed)
        for dep in job.after:
            since = max(since, received.get(dep, since))
        times.append(min(since, job.begin))
    return times


def _waiting(pool: TracedPool, ready: Sequence[float]) -> list[Waiting]:
    start = Waiting("the beginning of the run")
    dependencies = Waiting("dependencies")
    worker = Waiting("a worker that runs another job")
    dispatch = Waiting("messages and dispatch")
    result = Waiting("the result to arrive")
    free_since: dict[int, float] = defaultdict(float)
    for job, since in zip(pool.jobs, ready, strict=True):
        queued = min(max(job.submitted, pool.executed), since)
        start.add(queued - job.submitted)
        dependencies.add(since - queued)
        free = min(max(since, free_since[job.rank]), job.begin)
        worker.add(free - since)
        dispatch.add(job.begin - free)
        result.add(job.received - job.end)
        free_since[job.rank] = job.end
    return [start, dependencies, worker, dispatch, result]


def _ranks(pool: TracedPool, ready: Sequence[float]) -> list[RankUse]:
    without_ready = _TimeWithoutReady(pool.jobs, ready)
    return [
        _rank(pool, rank["rank"], rank.get("host", ""), rank.get("peak_memory", 0), without_ready)
        for rank in pool.ranks
    ]


def _rank(
    pool: TracedPool, rank: int, host: str, memory: int, without_ready: _TimeWithoutReady
) -> RankUse:
    slices = pool.slices.get(rank, [])
    use = RankUse(rank, host, len(slices), 0.0, 0.0, 0.0, 0.0, 0.0, memory)
    if not slices:
        use.before = pool.seconds
        return use
    use.before = max(0.0, slices[0][0] - pool.executed)
    use.after = max(0.0, pool.closed - slices[-1][1])
    previous = slices[0][0]
    for begin, end in slices:
        use.busy += end - begin
        if begin > previous:
            no_job = without_ready.between(previous, begin)
            use.no_job += no_job
            use.dispatch += begin - previous - no_job
        previous = end
    return use


class _TimeWithoutReady:
    """Measures for how long no job was ready.

    Parameters
    ----------
    jobs : sequence of TracedJob
        The jobs.
    ready : sequence of float
        When each could begin.
    """

    def __init__(self, jobs: Sequence[TracedJob], ready: Sequence[float]) -> None:
        changes = [(since, 1) for since in ready]
        changes += [(job.begin, -1) for job in jobs]
        # At one time, jobs become ready before jobs begin, so that the number stays positive.
        changes.sort(key=lambda change: (change[0], -change[1]))
        self._times = [0.0]
        self._sums = [0.0]
        self._slopes = [1]
        n_ready = 0
        for time, change in changes:
            n_ready += change
            slope = int(n_ready == 0)
            if slope != self._slopes[-1]:
                self._sums.append(self._until(len(self._times) - 1, time))
                self._times.append(time)
                self._slopes.append(slope)

    def _until(self, index: int, time: float) -> float:
        return self._sums[index] + self._slopes[index] * (time - self._times[index])

    def between(self, begin: float, end: float) -> float:
        """Return the seconds between two times in which no job was ready."""
        before, after = (
            self._until(max(0, bisect_right(self._times, time) - 1), time) for time in (begin, end)
        )
        return min(end - begin, max(0.0, after - before))


def critical_path(jobs: Sequence[TracedJob]) -> list[TracedJob]:
    """Return the chain of dependencies with the longest total run time, the first job first.

    With any number of workers the run takes at least as long.
    """
    by_number = {job.number: job for job in jobs}
    length: dict[int, float] = {}
    before: dict[int, int] = {}
    for job in jobs:  # in the order of their beginning: dependencies come first
        best = max((dep for dep in job.after if dep in length), key=length.__getitem__, default=-1)
        length[job.number] = job.seconds + length.get(best, 0.0)
        before[job.number] = best
    path = []
    number = max(length, key=length.__getitem__, default=-1)
    while number >= 0:
        path.append(by_number[number])
        number = before[number]
    return path[::-1]


def _kinds(jobs: Sequence[TracedJob]) -> list[Kind]:
    by_name: dict[str, list[TracedJob]] = defaultdict(list)
    for job in jobs:
        by_name[job.kind].append(job)
    kinds = [_kind(name, of_name) for name, of_name in by_name.items()]
    return sorted(kinds, key=lambda kind: -kind.total)


def _kind(name: str, jobs: Sequence[TracedJob]) -> Kind:
    seconds = [job.seconds for job in jobs]
    return Kind(
        name=name,
        jobs=len(jobs),
        failed=sum(job.status != "success" for job in jobs),
        total=sum(seconds),
        median=statistics.median(seconds),
        longest=max(seconds),
        bytes_in=sum(job.bytes_in for job in jobs),
        bytes_out=sum(job.bytes_out for job in jobs),
    )
