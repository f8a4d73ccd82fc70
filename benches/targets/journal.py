"""Targets for journals: what recording costs, and how fast a large journal opens."""

from __future__ import annotations

from benches.targets.kinds import Figures, Target, at_least, at_most, case

KNOWN = 1_000_000


def targets(quick: bool) -> list[Target]:
    jobs, known = (5_000, 50_000) if quick else (200_000, KNOWN)
    cases = {
        "serial": case("journal", jobs=jobs, known=known),
        "2 ranks": case("journal", 2, jobs=jobs),
    }
    return [
        Target(
            "journal",
            f"{jobs:,} no-op jobs with a journal (fsync each second) beside none",
            cases,
            (
                at_least(
                    "rate",
                    "jobs/s over those without, 2 ranks",
                    0.5,
                    lambda r: r["2 ranks"]["none_seconds"] / r["2 ranks"]["journal_seconds"],
                ),
                at_most("cost", "more CPU a job of the main thread, 2 ranks", 1.0, _more, "us"),
                at_most(
                    "resumed",
                    "time of a job that is resumed, queueing included",
                    5.0,
                    lambda r: 1e6 * r["serial"]["resumed_seconds"] / jobs,
                    "us",
                ),
                at_most(
                    "opening",
                    f"opening a journal of {known:,} jobs",
                    3.0,
                    lambda r: r["serial"]["open_seconds"],
                    "s",
                ),
                at_most(
                    "memory",
                    f"memory for each job of a journal of {known:,}",
                    200,
                    lambda r: r["serial"]["open_bytes"],
                    "B",
                ),
            ),
        )
    ]


def _more(taken: dict[str, Figures]) -> float:
    figures = taken["2 ranks"]
    return 1e6 * (figures["journal_thread"] - figures["none_thread"]) / figures["jobs"]
