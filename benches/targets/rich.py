"""Targets for jobs with more than positional numbers: main's CPU, and that of a loop by hand."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case, each

ROWS = {
    "plain": ("one number", 1.5),
    "keywords": ("keywords x=i, mode='b'", 2.0),
    "argument": ("a dict as argument", 2.5),
    "result": ("a dict as result", 2.5),
    "array": ("an array of 20 doubles", 5.0),
    "closure": ("a closure over one number", 12.0),
    "partial": ("a partial", 4.0),
    "cached": ("a cached item", 2.5),
}
"""For each row its description, and the bound of main's CPU time for a job in microseconds."""


def targets(quick: bool) -> list[Target]:
    jobs = 5_000 if quick else 50_000
    cases, checks = {}, []
    for row, (text, bound) in ROWS.items():
        for who, hand in (("own", False), ("hand", True)):
            cases[f"{who} {row}"] = case("rich", 2, row=row, jobs=jobs, hand=hand)
        checks += [
            at_most(row, f"CPU of rank 0 a job, {text}", bound, _own(row), "us"),
            at_least(f"{row} loop", f"CPU of rank 0 in a loop over ours, {text}", 0.8, _share(row)),
        ]
    text = f"{jobs:,} jobs, each queued, results checked; 2 ranks"
    return [Target("rich", text, cases, tuple(checks))]


def _own(row: str):
    return lambda r: each(r[f"own {row}"], "cpu")


def _share(row: str):
    return lambda r: each(r[f"hand {row}"], "cpu") / each(r[f"own {row}"], "cpu")
