"""Targets for large numbers of ranks, and the comparison of the simulator with real runs."""

from __future__ import annotations

import os
from collections.abc import Callable

from benches.targets.kinds import Check, Figures, Taken, Target, at_most, case, each, rate

RANKS = (2, 4, 8, 16)
POLLS_SECONDS = 5e-6
"""How long a rank polls before it sleeps: `SPIN_NS` of the simulator."""
LENGTHS = (0, 100, 1_000)
"""The run times of jobs in microseconds."""


def targets(quick: bool) -> list[Target]:
    return [_prediction(quick), _workers(quick)]


def predicted(real: Figures, costs: Figures) -> dict[str, float]:
    """Return the figures that the simulator predicts for a run."""
    from bsbpool.simulation import Costs, Network, simulate

    listed = real["listed"]
    scale = real["run"] * len(listed) / sum(listed)
    result = simulate(
        int(real["ranks"]),
        real["jobs"],
        [scale * each for each in listed],
        network=Network(**costs["local"]),
        costs=Costs(**costs["costs"]),
    )
    # A rank polls before it sleeps, unless ranks share cores.
    polls = POLLS_SECONDS if real["ranks"] <= (os.cpu_count() or 1) else 0.0
    cpu = result.main_busy + result.sleeps * (costs["sleep"] + polls)
    return {"jobs": real["jobs"], "seconds": result.makespan, "cpu": cpu}


def name_of(ranks: int, us: int) -> str:
    return f"{ranks} ranks, {f'{us} us' if us else 'no-op'}"


def _prediction(quick: bool) -> Target:
    cases = {"costs": case("main_cost", what="costs", jobs=20_000 if quick else 100_000)}
    checks = []
    for us in LENGTHS:
        for ranks in RANKS[:1] if quick else RANKS:
            name = name_of(ranks, us)
            jobs = (50_000 if us == 0 else 20_000 // max(us // 100, 1)) // (10 if quick else 1)
            cases[name] = case("scale", ranks, jobs=jobs, us=float(us))
            if us or ranks == 2:  # more ranks than cores cannot all compute at a time
                checks.append(_check(f"rate, {name}", name, rate))
            checks.append(_check(f"cpu, {name}", name, lambda r: each(r, "cpu")))
    return Target(
        "scale", "how far the simulator is from real runs", cases, tuple(checks)
    )


def _check(title: str, name: str, figure: Callable[[Figures], float]) -> Check:
    def derive(r: Taken) -> float:
        return 100 * abs(figure(predicted(r[name], r["costs"])) / figure(r[name]) - 1)

    return at_most(title, title, 25, derive, "%")


def _workers(quick: bool) -> Target:
    many = 10_000 if quick else 1_000_000
    jobs = 100_000 if quick else 10_000_000
    return Target(
        "workers",
        f"{many:,} workers, of which 32 have jobs",
        {
            "few": case("main_cost", what="jobs", workers=32),
            "many": case("main_cost", what="jobs", workers=many),
            "memory": case("main_cost", what="memory", workers=many),
            "simulation": case("main_cost", what="simulate", workers=many // 8, jobs=jobs),
        },
        (
            at_most(
                "cost",
                "CPU a job over that with 32 workers",
                1.5,
                lambda r: r["many"]["seconds"] / r["few"]["seconds"],
            ),
            at_most("memory", "memory a worker", 256, lambda r: r["memory"]["bytes"], "B"),
            at_most(
                "simulation",
                f"simulating {jobs:,} jobs",
                300,
                lambda r: r["simulation"]["seconds"],
                "s",
            ),
        ),
    )
