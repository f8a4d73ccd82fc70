"""What a simulation has found, and its table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bsbpool.naming import duration_text
from bsbpool.simulation.units import bytes_text

BUSY = 0.9
"""From this load on a rank is the limit."""
CLOSE = 1.05
"""Up to this multiple of the bound, the bound is the limit."""


@dataclass(frozen=True)
class SimulationResult:
    """The figures of a simulated run.

    All times are in seconds. ``str(result)`` is the table of ``bsbpool simulate``.

    Attributes
    ----------
    ranks, workers, leaders, jobs : int
        The size of the run.
    makespan : float
        From the start of the run until the main rank has read the last reply.
    work : float
        The sum of the run times of all jobs.
    critical_path : float
        The longest sum of run times along dependencies.
    full_until, busy_while_full : float
        When no job was ready for the first time, and how much work had been done then.
    main_busy : float
        How long the main rank was busy.
    leader_busy : float
        How long the busiest leader was busy; 0 without leaders.
    ready_mean, ready_max : float, int
        The number of jobs that are ready and not assigned to a worker.
    inbox_mean, inbox_max : float, int
        The number of messages that wait for the main rank.
    sent, received : int
        The messages of the main rank.
    bytes_moved : float
        The bytes of these messages.
    sleeps : int
        How often the main rank went to sleep, as no message came.
    stolen : int
        The jobs that workers have given back.
    wait : float
        How long a worker waits for a message when it has no job, on average.
    bytes_per_job, bytes_per_edge, bytes_per_worker : float
        The memory of the tables of the dispatcher.
    table_bytes, simulator_bytes : int
        The memory of the tables of the dispatcher, and of the simulation itself.
    events : int
        The number of events of the simulation.
    cpu : float
        The CPU time of the simulation.
    network, duration, graph : str
        The input, as given.
    main_costs : dict
        The busy time of the main rank by cause: ``jobs``, ``frames``, ``messages`` and ``rounds``.
    """

    ranks: int
    workers: int
    leaders: int
    jobs: int
    makespan: float
    work: float
    critical_path: float
    full_until: float
    busy_while_full: float
    main_busy: float
    leader_busy: float
    ready_mean: float
    ready_max: int
    inbox_mean: float
    inbox_max: int
    sent: int
    received: int
    bytes_moved: float
    sleeps: int
    stolen: int
    wait: float
    bytes_per_job: float
    bytes_per_edge: float
    bytes_per_worker: float
    table_bytes: int
    simulator_bytes: int
    events: int
    cpu: float
    network: str
    duration: str
    graph: str
    main_costs: dict[str, float]

    @property
    def efficiency(self) -> float:
        """The share of the workers' time in which they run jobs."""
        return self.work / (self.workers * self.makespan) if self.makespan else 1.0

    @property
    def full_efficiency(self) -> float:
        """The same share until no job was ready for the first time; 1 if that was at once.

        After that time workers are idle because there are not enough jobs.
        """
        full = self.workers * self.full_until
        return self.busy_while_full / full if self.busy_while_full else 1.0

    @property
    def rank_efficiency(self) -> float:
        """The same share of the time of all ranks, that of main and the leaders included."""
        return self.work / (self.ranks * self.makespan) if self.makespan else 1.0

    @property
    def bound(self) -> float:
        """The least possible makespan: max(critical path, work / workers)."""
        return max(self.critical_path, self.work / self.workers)

    @property
    def over_bound(self) -> float:
        """The makespan divided by the bound."""
        return self.makespan / self.bound if self.bound else float("inf")

    @property
    def main_load(self) -> float:
        """The share of the time in which the main rank is busy."""
        return self.main_busy / self.makespan if self.makespan else 0.0

    @property
    def leader_load(self) -> float:
        """The share of the time in which the busiest leader is busy."""
        return self.leader_busy / self.makespan if self.makespan else 0.0

    @property
    def messages_per_second(self) -> float:
        """The messages that the main rank sends and receives in a second."""
        return (self.sent + self.received) / self.makespan if self.makespan else 0.0

    @property
    def limit(self) -> str:
        """The resource that limits the run, in words."""
        return limit_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, for JSON."""
        derived = (
            "efficiency", "full_efficiency", "rank_efficiency", "bound", "over_bound", "main_load",
            "leader_load", "messages_per_second", "limit",
        )  # fmt: skip
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}

    def __str__(self) -> str:
        return table_of(self)


def limit_of(r: SimulationResult) -> str:
    """Return the resource that limits a run, in words."""
    if r.over_bound <= CLOSE:
        if r.critical_path > r.work / r.workers:
            return "the dependencies: the longest chain of jobs takes as long as the run"
        return "the workers: they are busy nearly all the time"
    # Main may have little to do at the end of the run, when no more jobs are ready.
    mostly_full = r.full_until > 0.3 * r.makespan
    if r.main_load >= BUSY or (mostly_full and r.main_busy >= BUSY * r.full_until):
        return _main_limit(r)
    if r.leader_load >= BUSY:
        return "the leaders: their time to forward frames; use leaders with fewer workers"
    if r.graph != "independent" and r.critical_path > 0.5 * r.makespan:
        return "the dependencies, and the time between the end of a job and the start of the next"
    if r.full_efficiency >= BUSY and r.full_until < r.makespan:
        return (
            f"the number of jobs, {r.jobs / r.workers:.1f} for each worker: for the last "
            f"{duration_text(r.makespan - r.full_until)} none is ready and workers become idle; "
            f"the longest job takes {duration_text(r.critical_path)}"
            if r.graph == "independent"
            else "the dependencies: too few jobs are ready for all workers"
        )
    return (
        f"the round trips: a worker without a job waits {duration_text(r.wait)} for the next one; "
        "longer jobs hide it"
    )


def _main_limit(r: SimulationResult) -> str:
    most = max(r.main_costs, key=lambda name: r.main_costs[name])
    share = 100 * r.main_costs[most] / max(r.main_busy, 1e-30)
    each = duration_text(r.main_busy / r.jobs)
    remedy = (
        "leaders reduce the messages of main"
        if most == "messages" and not r.leaders
        else "use longer jobs, or several items in each job"
    )
    return f"the main rank: it needs {each} for a job, {share:.0f}% of it for {most}; {remedy}"


def rows_of(r: SimulationResult) -> list[tuple[str, str]]:
    """Return the rows of the table: names and values."""
    leaders = f"{r.leaders:,}" if r.leaders else "none"
    rows = [
        ("ranks, workers, leaders", f"{r.ranks:,}, {r.workers:,}, {leaders}"),
        ("jobs", f"{r.jobs:,}, {r.duration}, {r.graph}"),
        ("network", r.network),
        ("makespan", duration_text(r.makespan)),
        ("bound", f"{duration_text(r.bound)} = max(critical path, work / workers)"),
        ("makespan over the bound", f"{r.over_bound:.3f}"),
        (
            "efficiency",
            f"{100 * r.efficiency:.1f}% of workers, {100 * r.rank_efficiency:.1f}% of ranks",
        ),
        (
            "until no job was ready",
            f"{100 * r.full_efficiency:.1f}% of workers, for {duration_text(r.full_until)}",
        ),
        ("load of main", f"{100 * r.main_load:.1f}%" + _costs(r)),
    ]
    if r.leaders:
        rows.append(("load of the busiest leader", f"{100 * r.leader_load:.1f}%"))
    return [
        *rows,
        ("ready jobs", f"{r.ready_mean:,.1f} on average, at most {r.ready_max:,}"),
        ("messages waiting for main", f"{r.inbox_mean:,.1f} on average, at most {r.inbox_max:,}"),
        (
            "messages of main",
            f"{r.messages_per_second:,.0f}/s, {r.jobs / max(r.received, 1):.1f} jobs in each reply"
            ", "
            f"{bytes_text(r.bytes_moved / r.makespan if r.makespan else 0)}/s",
        ),
        ("jobs taken back", f"{r.stolen:,}"),
        (
            "tables of main",
            f"{bytes_text(r.table_bytes)}: {r.bytes_per_job:.0f} B a job, "
            f"{r.bytes_per_worker:.0f} B a worker"
            + (f", {r.bytes_per_edge:.0f} B a job for dependencies" if r.bytes_per_edge else ""),
        ),
        (
            "simulation",
            f"{r.cpu:.1f} s of CPU, {1e6 * r.cpu / r.jobs:.1f} us a job, {r.events:,} events, "
            f"{bytes_text(r.simulator_bytes)}",
        ),
        ("limited by", r.limit),
    ]


def _costs(r: SimulationResult) -> str:
    total = sum(r.main_costs.values())
    if not total:
        return ""
    parts = [f"{name} {100 * cost / total:.0f}%" for name, cost in r.main_costs.items()]
    return f" ({', '.join(parts)})"


def table_of(r: SimulationResult) -> str:
    """Return the table as text."""
    rows = rows_of(r)
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
