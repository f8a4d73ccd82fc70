"""A loop written by hand: batches of jobs that are pickled one by one, some of them in flight.

Every job's arguments and result are pickles of their own, as they have to be in a pool: jobs
are made, fail and are delivered one by one.
"""

from __future__ import annotations

from pickle import dumps, loads

from mpi4py import MPI

from benches.programs.common import Meter, noop, options, say

BATCH, IN_FLIGHT = 64, 4


def lead(comm: MPI.Comm, jobs: list[tuple[int, ...]]) -> list[int]:
    results: list[int] = []
    flying = 0
    for begin in range(0, len(jobs), BATCH):
        if flying == IN_FLIGHT:
            results += [loads(blob) for blob in comm.recv()]
            flying -= 1
        comm.send([dumps(args, 5) for args in jobs[begin : begin + BATCH]], 1)
        flying += 1
    for _ in range(flying):
        results += [loads(blob) for blob in comm.recv()]
    comm.send(None, 1)
    return results


def follow(comm: MPI.Comm) -> None:
    while (blobs := comm.recv()) is not None:
        comm.send([dumps(noop(None, *loads(blob)), 5) for blob in blobs], 0)


def main() -> None:
    jobs = options(jobs=1000).jobs
    comm = MPI.COMM_WORLD
    if comm.rank:
        return follow(comm)
    argses = [(number,) for number in range(jobs)]
    meter = Meter()
    results = lead(comm, argses)
    figures = meter.read()
    assert results == list(range(jobs))
    say(jobs=jobs, **figures)


if __name__ == "__main__":
    main()
