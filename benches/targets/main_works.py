"""The target for pools whose rank 0 runs jobs, too."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case

GAINS = {
    ("sleep", 2, "1"): 1.3,
    ("sleep", 2, "10"): 1.7,
    ("sleep", 2, "100"): 1.8,
    ("sleep", 4, "10"): 1.2,
    ("sleep", 4, "100"): 1.25,
    ("python", 2, "10"): 1.4,
    ("python", 2, "100"): 1.6,
    ("numpy", 2, "10"): 1.6,
    ("numpy", 2, "100"): 1.7,
}
"""The least gain by the kind of jobs, the number of ranks, and the length in ms."""
MOST_GAP = 2.0
"""The longest mean time in ms between two jobs of a rank while rank 0 holds its GIL."""


def targets(quick: bool) -> list[Target]:
    budget = 0.05 if quick else 1.0
    cases = {
        f"{kind} {ranks} {main}": case(
            "main_works", ranks, kind=kind, budget=budget, main=main == "with"
        )
        for kind, ranks, _ in GAINS
        for main in ("with", "without")
    }
    checks = [
        at_least(
            f"{kind} {ranks} {ms}",
            f"jobs/s over those without, {kind} for {ms} ms, {ranks} ranks",
            bound,
            _gain(kind, ranks, ms),
        )
        for (kind, ranks, ms), bound in GAINS.items()
    ]
    checks.append(
        at_most(
            "gap",
            "from the end of a job to the start of the next on rank 1, python for 10 ms, 2 ranks",
            MOST_GAP,
            lambda r: r["python 2 with"]["gap"]["10"],
            "ms",
        )
    )
    return [Target("main-works", "jobs on rank 0, too", cases, tuple(checks))]


def _gain(kind: str, ranks: int, ms: str):
    def gain(r) -> float:
        with_main, without = (r[f"{kind} {ranks} {main}"]["rate"] for main in ("with", "without"))
        return with_main[ms] / without[ms]

    return gain
