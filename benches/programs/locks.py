"""Acquire and release a lock many times: one rank alone, or all ranks in turn."""

import os

from mpi4py import MPI

from benches.programs.common import Meter, options, say


def main() -> None:
    given = options(jobs=1000, mpilock=False, kind="write", alone=False, nodes=1)
    os.environ["BSBPOOL_TEST_NODES"] = str(given.nodes)
    comm = MPI.COMM_WORLD
    with open_lock(given.mpilock, comm) as lock:
        comm.Barrier()
        meter = Meter()
        # Not rank 0, where mpilock keeps its state.
        if not given.alone or comm.rank == comm.size - 1:
            acquire = getattr(lock, given.kind)
            for _ in range(given.jobs):
                with acquire():
                    pass
        taken = meter.read()
        comm.Barrier()
        waited = meter.read()
        if given.alone:
            figures = comm.bcast(taken, root=comm.size - 1)
            if comm.rank == 0:
                say(jobs=given.jobs, **figures)
        elif comm.rank == 0:
            say(jobs=given.jobs * comm.size, **waited)


def open_lock(mpilock: bool, comm: MPI.Comm):
    """Return the controller of the package mpilock, or ours."""
    if mpilock:
        from mpilock import sync
    else:
        from bsbpool.locking import sync
    return sync(comm)


if __name__ == "__main__":
    main()
