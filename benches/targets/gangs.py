"""Targets for jobs on several ranks."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case, each


def targets(quick: bool) -> list[Target]:
    jobs = 100 if quick else 2_000
    mixed = 60 if quick else 400
    return [
        Target(
            "gangs",
            "no-op jobs on 2 of 3 workers, one after the other; 4 ranks",
            {
                "own": case("gangs", 4, case="pool", jobs=jobs),
                "hand": case("gangs", 4, case="hand", jobs=jobs),
                "mixed": case("gangs", 4, case="mixed", jobs=mixed),
            },
            (
                at_most("time", "time a job", 200, lambda r: each(r["own"]), "us"),
                at_most(
                    "hand",
                    "time a job over that of a loop with Create_group",
                    1,
                    lambda r: each(r["own"]) / each(r["hand"]),
                ),
                at_least(
                    "busy",
                    "busy workers, a quarter of 10 to 30 ms jobs on 2 ranks",
                    0.9,
                    lambda r: r["mixed"]["work"] / r["mixed"]["seconds"],
                ),
            ),
        )
    ]
