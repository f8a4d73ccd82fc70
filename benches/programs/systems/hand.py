"""A loop written by hand on mpi4py: pickles in batches, some in flight to each worker."""

from __future__ import annotations

from collections import deque
from pickle import dumps, loads

from mpi4py import MPI

from benches.programs.common import Meter, task
from benches.programs.systems.support import Countdown, Figures, Script, check, on_all_ranks
from benches.workloads import Workload

BATCH, IN_FLIGHT = 64, 4


def session(script: Script) -> None:
    on_all_ranks(script, lambda workload: lead(workload) if workload is not None else follow())


def lead(workload: Workload) -> Figures:
    comm = MPI.COMM_WORLD
    args = (bytes(workload.bytes), workload.kernel)
    countdown = Countdown(workload.deps)
    meter = Meter()
    ready = deque(countdown.first)
    free = deque(range(1, comm.size)) * IN_FLIGHT
    sends, left = [], len(workload.deps)
    while left:
        while ready and free:
            # Small batches if there are few tasks, so that every worker gets some.
            size = min(BATCH, -(-len(ready) // (comm.size - 1)))
            batch = [(ready.popleft(), dumps(args, 5)) for _ in range(size)]
            sends.append(comm.isend(batch, free.popleft()))
        status = MPI.Status()
        for number, blob in comm.recv(status=status):
            check(loads(blob), workload)
            ready.extend(countdown.done(number))
            left -= 1
        free.append(status.source)
    for worker in range(1, comm.size):
        comm.send(None, worker)
    figures = meter.read()
    MPI.Request.waitall(sends)
    return figures


def follow() -> Figures:
    comm = MPI.COMM_WORLD
    while (batch := comm.recv(source=0)) is not None:
        done = [(number, dumps(task(None, *loads(blob)), 5)) for number, blob in batch]
        comm.send(done, 0)
    return {}
