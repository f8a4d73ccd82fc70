"""Send a payload to the other rank and back, pickled by mpi4py, many times."""

from mpi4py import MPI

from benches.programs.common import Meter, noop, options, say


def main() -> None:
    jobs = options(jobs=1000).jobs
    comm = MPI.COMM_WORLD
    comm.barrier()
    meter = Meter()
    for number in range(jobs):
        if comm.rank == 0:
            comm.send((number,), 1)
            assert comm.recv(source=1) == number
        else:
            comm.send(noop(None, *comm.recv(source=0)), 0)
    if comm.rank == 0:
        say(jobs=jobs, **meter.read())


if __name__ == "__main__":
    main()
