"""Jobs of one second, one after the other: the CPU time of waiting ranks, and their wakeup time.

With 2 ranks all workers are in jobs, with 3 one of them is idle.
"""

from __future__ import annotations

import itertools
import time

from mpi4py import MPI

from benches.programs.common import Meter, options, say
from bsbpool import create_job_pool


def rest(owner: object, seconds: float) -> tuple[float, float]:
    """Sleep; return the start and the end, by a clock that all processes share."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic()


def main() -> None:
    given = options(jobs=3, length=1.0)
    comm = MPI.COMM_WORLD
    with create_job_pool(quiet=True) as pool:
        jobs: list = []
        if pool.is_main():
            for _ in range(given.jobs):
                jobs.append(pool.queue(rest, (given.length,), deps=jobs[-1:]))
        comm.barrier()
        meter = Meter()
        pool.execute()
        figures = meter.read()
        shares = comm.gather(figures["cpu"] / figures["seconds"])
        if comm.rank == 0:
            times = [job.result for job in jobs]
            waits = [after[0] - before[1] for before, after in itertools.pairwise(times)]
            say(main=shares[0], workers=max(shares[1:]), latency=max(waits), **figures)


if __name__ == "__main__":
    main()
