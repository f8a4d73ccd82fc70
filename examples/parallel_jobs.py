"""Jobs on several ranks: each solves a Poisson equation with conjugate gradients, on two ranks.

    mpiexec -n 5 python examples/parallel_jobs.py

Each job has a communicator of its own. The grid is distributed by rows: adjacent ranks exchange
their edge rows, and dot products are sums over all ranks. Jobs on one rank, which prepare the
right-hand sides and compare the results, run beside them.
"""

import numpy as np
from mpi4py import MPI

from bsbpool import create_job_pool, current_job

N = 48
"""The grid points in each direction."""


def source(owner, frequency):
    """Return the right-hand side: the solution is an eigenvector, so it is known."""
    x = np.arange(1, N + 1) / (N + 1)
    return np.outer(np.sin(np.pi * x), np.sin(frequency * np.pi * x))


def laplacian(comm, rows):
    """Return minus the Laplacian of the rows of this rank, with zeros around the grid."""
    above, below = np.zeros(N), np.zeros(N)
    upper = comm.rank - 1 if comm.rank > 0 else -1
    lower = comm.rank + 1 if comm.rank < comm.size - 1 else -1
    requests = []
    for other, row, edge in ((upper, above, rows[0]), (lower, below, rows[-1])):
        if other >= 0:
            requests += [comm.Irecv(row, other), comm.Isend(edge, other)]
    for request in requests:
        request.Wait()
    full = np.vstack([above, rows, below])
    sides = np.pad(rows, ((0, 0), (1, 1)))
    result = 4 * rows - full[:-2] - full[2:] - sides[:, :-2] - sides[:, 2:]
    return result * (N + 1) ** 2


def solve(owner, right, tolerance=1e-10):
    """Solve the equation; return the rows of this rank."""
    comm = current_job().comm
    mine = np.array_split(np.arange(N), comm.size)[comm.rank]
    residual = right[mine]
    x, direction = np.zeros_like(residual), residual.copy()
    norm = comm.allreduce(float((residual**2).sum()))
    limit = tolerance**2 * norm
    while norm > limit:
        image = laplacian(comm, direction)
        step = norm / comm.allreduce(float((direction * image).sum()))
        x += step * direction
        residual = residual - step * image
        norm, last = comm.allreduce(float((residual**2).sum())), norm
        direction = residual + norm / last * direction
    return x


def error(owner, parts, right, frequency):
    """Return the largest difference from the known solution of the discrete equation."""
    values = [4 * (N + 1) ** 2 * np.sin(k * np.pi / 2 / (N + 1)) ** 2 for k in (1, frequency)]
    return float(abs(np.vstack(parts) - right / sum(values)).max())


def errors(pool, frequencies, ranks):
    """Queue the jobs; return those that compute the errors."""
    found = []
    for frequency in frequencies:
        right = pool.submit(source, frequency)
        parts = pool.options(ranks=ranks, gather=True, placement="node").submit(solve, right)
        found.append(pool.submit(error, parts, right, frequency))
    return found


def main():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = errors(pool, range(1, 9), ranks=min(2, max(MPI.COMM_WORLD.size - 1, 1)))
        pool.execute()
        if pool.is_main():
            print(f"error {max(job.result for job in jobs):.0e}")


if __name__ == "__main__":
    main()
