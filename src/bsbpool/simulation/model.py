"""The function `simulate`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bsbpool.simulation.costs import Costs
from bsbpool.simulation.leaders import Groups, groups_of
from bsbpool.simulation.networks import LOCAL, Network, network_of
from bsbpool.simulation.result import SimulationResult
from bsbpool.simulation.workload import LISTED, durations_of, graph_of

if TYPE_CHECKING:
    from bsbpool._core.simulation.simulator import Simulator

MOST_RANKS = 1 << 24
MOST_JOBS = 2**31 - 1


def simulate(
    ranks: int,
    jobs: int,
    duration: str | float | Sequence[float] = "constant:1s",
    *,
    leaders: str | int | None = None,
    network: str | Network = "ndr",
    graph: str = "independent",
    argument_bytes: int = 16,
    result_bytes: int = 8,
    paced_leaders: bool = True,
    prefetch: bool = True,
    seed: int = 0,
    costs: Costs | None = None,
    local: Network = LOCAL,
) -> SimulationResult:
    """Predict how a pool runs jobs on many ranks.

    The tables of the dispatcher are the real ones. The other ranks, the network and the time are
    simulated. Results are the same each time, except for the CPU time of the simulation.

    Parameters
    ----------
    ranks : int
        The number of ranks, that of the main rank included.
    jobs : int
        The number of jobs, all queued before the run starts.
    duration : str, float or sequence of float, optional
        The run times: ``"constant:20ms"``, ``"uniform:0:1s"``, ``"lognormal:MEDIAN[:SIGMA]"``,
        ``"exponential:MEAN"``, the name of a file with a number of seconds in each line, or
        seconds. A list that is shorter than the number of jobs is repeated.
    leaders : str, int or None, optional
        ``"none"``, ``"auto"``, ``"node:K"`` or K: which ranks pass on messages.
    network : str or Network, optional
        ``"ndr"``, ``"slingshot"``, ``"shared-memory"`` or the four times of LogGP, ``"L,o,g,G"``.
    graph : str, optional
        ``"independent"``, ``"chain[:K]"``, ``"tree[:K]"`` or ``"random[:K]"``.
    argument_bytes, result_bytes : int, optional
        The bytes of the arguments and the result of a job.
    paced_leaders : bool, optional
        Whether a leader sends a bundle to main only when main has read the one before, as leaders
        do, so that bundles become larger when main is busy. Without, it sends one as soon as it has
        read all that has arrived.
    prefetch : bool, optional
        Whether quick jobs are sent to a worker before it has ended the one before, as in
        `create_job_pool`.
    seed : int, optional
        The seed of the run times and the dependencies.
    costs : Costs, optional
        The CPU time of the steps of bsbpool; by default that of the machine in docs/scaling.md.
    local : Network, optional
        The messages between a leader and its workers, which are in the same node.

    Returns
    -------
    SimulationResult

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.

    Examples
    --------
    >>> from bsbpool.simulation import simulate
    >>> result = simulate(ranks=1024, jobs=20_000, duration="constant:100ms")
    >>> result.workers, result.efficiency > 0.9
    (1023, True)
    >>> print(result.limit)
    the workers: they are busy nearly all the time
    """
    _check("ranks", ranks, 2, MOST_RANKS)
    _check("jobs", jobs, 1, MOST_JOBS)
    _check("argument_bytes", argument_bytes, 0, 2**40)
    _check("result_bytes", result_bytes, 0, 2**40)
    _check("seed", seed, 0, 2**64 - 1)
    groups = groups_of(ranks, leaders)
    used = network_of(network)
    steps = costs or Costs()
    begin = time.process_time()
    simulator = make_simulator(groups, jobs, duration, graph, seed, prefetch=prefetch)
    simulator.set_network(*([1e9 * each for each in net] for net in (used, local)))
    simulator.set_costs(*(1e9 * each for each in steps.steps(groups.workers)))
    simulator.set_payload(argument_bytes, result_bytes)
    if paced_leaders:
        simulator.pace_leaders()
    simulator.run()
    cpu = time.process_time() - begin
    found = simulator.results()
    of_jobs, of_edges, of_workers, own = simulator.memory()
    return SimulationResult(
        ranks=ranks,
        workers=groups.workers,
        leaders=groups.leaders,
        jobs=jobs,
        **{
            name: found[name]
            for name in (
                "makespan", "work", "critical_path", "full_until", "busy_while_full", "main_busy",
                "leader_busy", "ready_mean", "ready_max", "inbox_mean", "inbox_max", "sent",
                "received", "bytes_moved", "sleeps", "stolen", "wait", "events",
            )
        },
        bytes_per_job=of_jobs / jobs,
        bytes_per_edge=of_edges / jobs,
        bytes_per_worker=of_workers / groups.workers,
        table_bytes=of_jobs + of_edges + of_workers,
        simulator_bytes=own,
        cpu=cpu,
        network=network if isinstance(network, str) else ",".join(f"{x:g}" for x in network[:4]),
        duration=_text(duration),
        graph=graph,
        main_costs=_main_costs(found, jobs, used, steps),
    )  # fmt: skip


def make_simulator(
    groups: Groups,
    jobs: int,
    duration: str | float | Sequence[float],
    graph: str,
    seed: int,
    *,
    prefetch: bool = True,
    trace: bool = False,
) -> Simulator:
    """Return a simulator with its jobs, without costs and network; for `simulate` and tests."""
    from bsbpool._core.simulation.simulator import Simulator

    durations = durations_of(duration)
    kind, parameter = graph_of(graph, groups.workers)
    simulator = Simulator(groups.sizes, groups.leaders_work, jobs, trace)
    if not prefetch:
        simulator.disable_prefetch()
    if durations.kind == LISTED and durations.listed is not None:
        simulator.set_jobs(durations.listed, kind, parameter, seed)
    else:
        simulator.draw_jobs(durations.kind, durations.a, durations.b, kind, parameter, seed)
    return simulator


def _main_costs(
    found: dict[str, Any], jobs: int, network: Network, costs: Costs
) -> dict[str, float]:
    """Return the busy time of main by cause."""
    messages = (found["sent"] + found["received"]) * (costs.message + network.overhead)
    of_jobs = jobs * (costs.job_sent + costs.job_done)
    rounds = found["rounds"] * costs.round
    frames = max(found["main_busy"] - messages - of_jobs - rounds, 0.0)
    return {"jobs": of_jobs, "frames": frames, "messages": messages, "rounds": rounds}


def _check(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number from {least:,} to {most:,}, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least:,} to {most:,}, got {value:,}")


def _text(duration: str | float | Sequence[float]) -> str:
    if isinstance(duration, str):
        return duration
    if isinstance(duration, (int, float)):
        return f"constant:{duration:g}s"
    return f"{len(duration):,} given run times"
