"""The program of a run: ``python -m many.program JSON``; rank 0 prints the figures.

Keys: ``folder`` for the stacks of ranks that take too long, ``limit`` in seconds, ``settings`` of
the pools, ``checks`` (whether to run them), ``pools`` and ``jobs`` (how many to measure).
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpi4py import MPI

from bsbpool import create_job_pool

from .checks import CHECKS, Settings

WORLD = MPI.COMM_WORLD
REPEATS = 3


def meet() -> None:
    """Wait for all ranks. MPI_Barrier would keep the cores busy that the last ranks need."""
    request = WORLD.Ibarrier()
    while not request.Test():
        time.sleep(0.001)


def nothing(owner: Any) -> None:
    """Do nothing."""


def run_pool(settings: Settings, jobs: int = 0) -> None:
    """Make a pool and execute it."""
    with create_job_pool(quiet=True, **settings) as pool:
        if pool.is_main() and jobs:
            pool.queue_many(nothing, [()] * jobs)
        pool.execute()


def seconds_of(step: Callable[[], object]) -> float:
    """Return how long a step takes, until the last rank has ended it."""
    meet()
    began = time.perf_counter()
    step()
    meet()
    return time.perf_counter() - began


def measure(settings: Settings, pools: int, jobs: int) -> dict[str, Any]:
    """Measure empty pools, one after the other, and pools of jobs that do nothing."""
    run_pool(settings)
    figures: dict[str, Any] = {}
    if pools:

        def make_pools() -> None:
            for _ in range(pools):
                run_pool(settings)

        times = [seconds_of(make_pools) for _ in range(REPEATS)]
        figures["pool_ms"] = 1e3 * min(times) / pools
    if jobs:
        times = [seconds_of(lambda: run_pool(settings, jobs)) for _ in range(REPEATS)]
        figures["jobs_per_s"] = jobs / min(times)
    return figures


def main(given: dict[str, Any]) -> None:
    """Run the checks, then measure."""
    with Path(given["folder"], str(WORLD.rank)).open("w") as stacks:
        faulthandler.dump_traceback_later(given["limit"], file=stacks)
        report: dict[str, Any] = {"seconds": {}}
        for check in CHECKS if given["checks"] else ():
            meet()
            began = time.perf_counter()
            check(given["settings"])
            report["seconds"][check.__name__] = round(time.perf_counter() - began, 3)
        report |= measure(given["settings"], given["pools"], given["jobs"])
        meet()
        faulthandler.cancel_dump_traceback_later()
    if WORLD.rank == 0:
        print(f"many: {json.dumps(report)}", flush=True)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except BaseException:
        print(f"rank {WORLD.rank}, process {os.getpid()}:\n{traceback.format_exc()}", flush=True)
        time.sleep(0.5)  # mpiexec may drop output that it has not forwarded yet
        WORLD.Abort(1)
