"""Targets for data on the workers."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case, each


def targets(quick: bool) -> list[Target]:
    arrays, size = (64, 1 << 16) if quick else (1024, 1 << 20)
    jobs = 500 if quick else 5_000
    cases = {
        "own": case("reduction", 4, arrays=arrays, size=size),
        "dask": case("reduction", needs="distributed", arrays=arrays, size=size, workers=3),
        "chain": case("dataflow", 2, jobs=jobs),
        "deps": case("dataflow", 2, jobs=jobs, deps=True),
    }
    text = f"tree reduction of {arrays:,} arrays of {size >> 10} KiB; 3 workers"
    return [
        Target(
            "data",
            text,
            cases,
            (
                at_least(
                    "reduction dask",
                    "Dask's time of the reduction over ours",
                    5,
                    lambda r: r["dask"]["seconds"] / r["own"]["seconds"],
                ),
                at_most(
                    "dataflow chain",
                    f"CPU of rank 0 a job in a chain of {jobs:,}, x = submit(f, x), over deps=[x]",
                    1.3,
                    lambda r: each(r["chain"], "cpu") / each(r["deps"], "cpu"),
                ),
            ),
        )
    ]
