"""Runs with many ranks: ``python -m many ENVS --ranks 16 32 64`` with the folder of environments.

Each run checks the results of pools of all kinds. Then it measures an empty pool, and jobs that do
nothing, against 2 ranks. The exit code is 1 if a check failed or a target was missed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .launching import Run, run

LEADERS: dict[str, dict[str, Any]] = {
    "none": {"leaders": None},
    "node": {"leaders": "node"},
    "4": {"leaders": 4},
}
"""Values of ``--leaders``, and the arguments of `create_job_pool` that they stand for."""
RATIO = 0.3
"""Target: the throughput, as a share of that of 2 ranks."""
POOL_MS = 40.0
"""Target: the milliseconds of an empty pool."""
HEAD = (
    f"{'MPI':9}{'leaders':>9}{'main works':>12}{'ranks':>7}{'checks':>9}{'jobs/s':>10}"
    f"{'to 2 ranks':>12}{'pool':>10}"
)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="many", description=__doc__)
    parser.add_argument("envs", type=Path, help="the folder with the environments")
    parser.add_argument("--mpi", nargs="+", default=["mpich", "openmpi"], help="which of them")
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--leaders", nargs="+", default=["none", "4"], choices=LEADERS)
    parser.add_argument("--main-works", nargs="+", default=["no"], choices=["no", "yes"])
    parser.add_argument("--jobs", type=int, default=200_000, help="to measure the throughput")
    parser.add_argument("--pools", type=int, default=15, help="to measure an empty one")
    parser.add_argument("--seconds", type=float, default=240.0, help="the limit of each run")
    return parser.parse_args(arguments)


def row(title: str, ranks: int, done: Run, base: float) -> tuple[str, list[str]]:
    """Return a line of the table and the targets that were missed."""
    ratio = done.report["jobs_per_s"] / base
    pool_ms = done.report["pool_ms"]
    missed = []
    if ratio < RATIO:
        missed.append(f"{title}, {ranks} ranks: {ratio:.2f} of the throughput, target {RATIO}")
    if pool_ms > POOL_MS:
        missed.append(f"{title}, {ranks} ranks: {pool_ms:.1f} ms for a pool, target {POOL_MS:g}")
    checks = sum(done.report["seconds"].values())
    return (
        f"{title}{ranks:7}{checks:7.1f} s{done.report['jobs_per_s']:10,.0f}{ratio:12.2f}"
        f"{pool_ms:7.1f} ms",
        missed,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run in all environments; return the exit code."""
    options = parsed(arguments)
    trouble = []
    print(HEAD, flush=True)
    for mpi in options.mpi:
        python = options.envs.absolute() / mpi / "bin" / "python"
        for leaders in options.leaders:
            for main_works in options.main_works:
                settings = {**LEADERS[leaders], "main_works": main_works == "yes"}
                title = f"{mpi:9}{leaders:>9}{main_works:>12}"
                # Without leaders: with 2 ranks there is nothing to lead.
                measured = {"python": python, "jobs": options.jobs, "limit": options.seconds}
                few = run(2, {}, checks=False, **measured)
                for ranks in options.ranks:
                    done = run(ranks, settings, pools=options.pools, **measured)
                    if problem := few.problem or done.problem:
                        trouble.append(f"{title}, {ranks} ranks:\n{problem}")
                        continue
                    line, missed = row(title, ranks, done, few.report["jobs_per_s"])
                    print(line, flush=True)
                    trouble += missed
    print(*trouble, sep="\n")
    print("some runs or targets failed" if trouble else "all runs were correct, all targets met")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
