"""Send a large array to a job or back: with the pool, or with mpi4py's Send and Recv.

The receiving side has a new array each time either way; so a page that has never been touched
costs both the same.
"""

from __future__ import annotations

import gc
from statistics import median

import numpy as np
from mpi4py import MPI

from benches.programs.common import Meter, options, peak, resident, say
from bsbpool import create_job_pool

LARGE = np.zeros(0)
"""The array, on the sending side only; it is made before the clock starts."""
SIZE = 0
"""The number of its elements."""


def take(owner: object, array: np.ndarray) -> float:
    return float(array[-1])


def give(owner: object) -> np.ndarray:
    return LARGE


def by_pool(comm: MPI.Comm, result: bool) -> float:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job = pool.queue(give) if result else pool.queue(take, (LARGE,))
        comm.barrier()
        meter = Meter()
        results = pool.execute(return_results=True)
        seconds = meter.read()["seconds"]
        if pool.is_main():
            assert (results[job][-1] if result else results[job]) == 1
    return seconds


def by_hand(comm: MPI.Comm, result: bool) -> float:
    comm.barrier()
    meter = Meter()
    if comm.rank == (1 if result else 0):
        comm.Send(LARGE, 1 - comm.rank)
    else:
        array = np.empty(SIZE)
        comm.Recv(array, 1 - comm.rank)
        assert array[-1] == 1
    if not result:  # the job's result, which comes back
        comm.send(1.0, 0) if comm.rank else comm.recv()
    return meter.read()["seconds"]


def main() -> None:
    global LARGE, SIZE
    given = options(megabytes=100, hand=False, result=False, repeats=5)
    comm = MPI.COMM_WORLD
    SIZE = given.megabytes * 1_000_000 // 8
    receiver = 0 if given.result else 1
    if comm.rank != receiver:
        LARGE = np.ones(SIZE)
    way = by_hand if given.hand else by_pool
    before, seconds = resident(), []
    for _ in range(given.repeats):
        seconds.append(way(comm, given.result))
        gc.collect()
    held = comm.gather(peak() - before)
    if comm.rank == 0:
        # The first transfer also sets up connections and buffers.
        say(seconds=median(seconds[1:] or seconds), bytes=held[receiver], array=8 * SIZE)


if __name__ == "__main__":
    main()
