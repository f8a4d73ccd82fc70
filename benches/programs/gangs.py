"""No-op jobs on several ranks one after the other, or a mixed load; or the same by hand.

The loop by hand sends each job to its ranks with mpi4py, makes a communicator for it with
Create_group, calls a function and frees it. A pool keeps the communicators.
"""

from __future__ import annotations

import random
import time

from mpi4py import MPI

from benches.programs.common import Meter, options, say
from bsbpool import create_job_pool, current_job


def nothing(owner: object = None) -> int:
    return 1


def rest(owner: object, seconds: float) -> float:
    """Sleep; return how long, on all ranks of the job."""
    job = current_job()
    assert job is not None
    time.sleep(seconds)
    return seconds * len(job.ranks)


def by_pool(jobs: int, ranks: int) -> None:
    """Run a chain of jobs, so that one runs at a time."""
    world = MPI.COMM_WORLD
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            view = pool.options(ranks=ranks, targets=range(1, ranks + 1))
            job = view.submit(nothing)
            for _ in range(jobs):
                job = view.queue(nothing, deps=[job])
        world.barrier()
        meter = Meter()
        pool.execute()
        if pool.is_main():
            say(jobs=jobs, **meter.read())


def by_hand(jobs: int, ranks: int) -> None:
    """Send each job, and wait for the replies."""
    world = MPI.COMM_WORLD
    group = world.Get_group().Incl(range(1, ranks + 1))
    world.barrier()
    meter = Meter()
    if world.rank == 0:
        for _ in range(jobs):
            for rank in range(1, ranks + 1):
                world.send(nothing, rank)
            for rank in range(1, ranks + 1):
                world.recv(source=rank)
        for rank in range(1, ranks + 1):
            world.send(None, rank)
        say(jobs=jobs, **meter.read())
    elif world.rank <= ranks:
        while (f := world.recv(source=0)) is not None:
            comm = world.Create_group(group, 1)
            f()
            comm.Free()
            world.send(1, 0)


def mixed(jobs: int) -> None:
    """Run jobs on one and two ranks, a quarter of them on two."""
    world = MPI.COMM_WORLD
    dice = random.Random(1)
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            view = pool.options(ranks=2)
            for _ in range(jobs):
                where = view if dice.random() < 0.25 else pool
                where.submit(rest, dice.uniform(0.01, 0.03))
        world.barrier()
        meter = Meter()
        done = pool.execute(return_results=True)
        if pool.is_main():
            assert done is not None
            say(jobs=jobs, work=sum(done.values()) / (world.size - 1), **meter.read())


def main() -> None:
    given = options(case="pool", jobs=1000, ranks=2)
    if given.case == "mixed":
        mixed(given.jobs)
    else:
        (by_pool if given.case == "pool" else by_hand)(given.jobs, given.ranks)


if __name__ == "__main__":
    main()
