"""Sleeping jobs of unequal lengths: the makespan compared with the optimum."""

from __future__ import annotations

import random
import time

from mpi4py import MPI

from benches.programs.common import Meter, options, say
from bsbpool import create_job_pool


def rest(owner: object, seconds: float) -> None:
    time.sleep(seconds)


def lengths(case: str, jobs: int) -> list[float]:
    if case == "uniform":
        dice = random.Random(1)
        return [dice.uniform(0, 0.02) for _ in range(jobs)]
    return [1.0] + [0.001] * (jobs - 1)


def main() -> None:
    given = options(case="uniform", jobs=300)
    sleeps = lengths(given.case, given.jobs)
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            for seconds in sleeps:
                pool.queue(rest, (seconds,))
        MPI.COMM_WORLD.barrier()
        meter = Meter()
        pool.execute()
        if pool.is_main():
            workers = MPI.COMM_WORLD.size - 1
            best = max(*sleeps, sum(sleeps) / workers)
            say(jobs=given.jobs, best=best, **meter.read())


if __name__ == "__main__":
    main()
