"""A program for bare environments: it needs nothing but bsbpool. Rank 0 prints the result."""

import sys

from bsbpool import create_job_pool


def square(owner, n):
    return n * n


with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        jobs = [pool.submit(square, n) for n in range(1000)]
    pool.execute()
    if pool.is_main():
        modules = [name.rpartition(".")[2] for name in sys.modules if "._core.mpi_" in name]
        ranks = sys.modules["mpi4py.MPI"].COMM_WORLD.size if modules else 1
        total = sum(job.result for job in jobs)
        print(f"{ranks} ranks, sum {total}, {modules[0] if modules else 'no module'}")
