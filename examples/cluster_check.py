"""Checks a start of bsbpool on a cluster: run it on 10 nodes before you ask for 1,000.

    mpiexec -n 3 python examples/cluster_check.py
    srun python examples/cluster_check.py

Prints where the ranks are, what they run, how long the start took on the slowest rank, and how fast
the pool is. The exit code is 1 if something is wrong.
"""

import os
import sys
import time


def seconds_of_process():
    """Return the age of this process, in steps of 10 ms; 0.0 where it is not known."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"), 0.0)


TIMES = {"start of Python": seconds_of_process()}
begun = time.perf_counter()

from mpi4py import MPI  # noqa: E402

TIMES["import mpi4py, MPI_Init"] = time.perf_counter() - begun
begun = time.perf_counter()

import bsbpool  # noqa: E402

with bsbpool.create_job_pool(quiet=True) as first:
    first.execute()
TIMES["import bsbpool, first pool"] = time.perf_counter() - begun

LEVELS = {
    MPI.THREAD_SINGLE: "MPI_THREAD_SINGLE",
    MPI.THREAD_FUNNELED: "MPI_THREAD_FUNNELED",
    MPI.THREAD_SERIALIZED: "MPI_THREAD_SERIALIZED",
    MPI.THREAD_MULTIPLE: "MPI_THREAD_MULTIPLE",
}
N_JOBS = 20_000
N_STEPS = 500


def nothing(owner):
    """Do nothing."""


def jobs_per_second():
    """Return how many jobs that do nothing the ranks run per second; on rank 0."""
    with bsbpool.create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.queue_many(nothing, [()] * N_JOBS)
        start = time.perf_counter()
        pool.execute()
    return N_JOBS / (time.perf_counter() - start)


def seconds_per_step():
    """Return how long a job takes that waits for the job before it; on rank 0."""
    with bsbpool.create_job_pool(quiet=True) as pool:
        job = None
        for _ in range(N_STEPS if pool.is_main() else 0):
            job = pool.queue(nothing, (), deps=[job] if job else [])
        start = time.perf_counter()
        pool.execute()
    return (time.perf_counter() - start) / N_STEPS


def describe():
    """Return what the ranks should have in common, and what is special to this rank."""
    library = " ".join(MPI.Get_library_version().splitlines()[0].partition(",")[0].split())
    common = {
        "Python": f"{sys.version.split()[0]} in {sys.prefix}",
        "bsbpool": f"{bsbpool.__version__} in {os.path.dirname(bsbpool.__file__)}",
        "MPI": library,
        "threads": LEVELS[MPI.Query_thread()],
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
    }
    return common, MPI.Get_processor_name(), sorted(os.sched_getaffinity(0)), TIMES


def report(ranks):
    """Print what the ranks have told; return the problems."""
    problems = []
    commons, hosts, cores, times = zip(*ranks, strict=True)
    print(f"{len(ranks)} ranks on {len(set(hosts))} hosts")
    for host in sorted(set(hosts))[:20]:
        own = [set(of_rank) for name, of_rank in zip(hosts, cores, strict=True) if name == host]
        usable, least = len(set().union(*own)), min(map(len, own))
        print(f"  {host}: {len(own)} ranks, {usable} cores, at least {least} for each rank")
        if len(own) > usable:
            problems.append(f"{host} has more ranks than cores; check the binding")
    for name in commons[0]:
        values = {common[name] for common in commons}
        print(f"{name}: {', '.join(sorted(values))}")
        if len(values) > 1:
            problems.append(f"the ranks differ in {name}")
    if commons[0]["threads"] != "MPI_THREAD_MULTIPLE":
        problems.append("without MPI_THREAD_MULTIPLE workers answer only between jobs")
    for name in times[0]:
        seconds = sorted(of_rank[name] for of_rank in times)
        median, slowest = seconds[len(seconds) // 2], seconds[-1]
        print(f"{name}: median {median:.2f} s, slowest rank {slowest:.2f} s")
    return problems


def main():
    """Check; return the exit code."""
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1:
        print("MPI sees one rank: see 'Every rank sees size 1' in docs/clusters.md")
        return 1
    ranks = comm.gather(describe())
    problems = report(ranks) if ranks else []
    rate, step = jobs_per_second(), seconds_per_step()
    if ranks:
        print(f"jobs that do nothing: {rate:,.0f} per second")
        print(f"a job after the other: {step * 1e6:.0f} us each")
        for problem in problems:
            print(f"PROBLEM: {problem}")
        print(f"problems: {len(problems)}")
    return comm.bcast(1 if problems else 0)


if __name__ == "__main__":
    sys.exit(main())
