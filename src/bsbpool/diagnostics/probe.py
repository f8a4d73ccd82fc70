"""What a rank finds out about MPI. It runs in a process of its own, since MPI may end or hang it.

`main` prints one line of JSON: rank 0 for all ranks, or each process that sees no other rank.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from bsbpool.diagnostics.machine import shared_memory_fault
from bsbpool.services.launchers import launch_of_several

MARK = "bsbpool-probe: "
PROGRAM = (sys.executable, "-c", "from bsbpool.diagnostics.probe import main; main()")
"""The command that runs `main`."""
EACH_RANK, WITHOUT_INIT = "--each-rank", "--without-init"
THREAD_LEVELS = (
    "MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED", "MPI_THREAD_MULTIPLE"
)  # fmt: skip
WAKEUP_SECONDS = 10.0
N_JOBS = 8


def main() -> None:
    """Print what the ranks find out; with EACH_RANK all of them print their rank at least."""
    answer = about_library() if sys.argv[1:] == [WITHOUT_INIT] else probe()
    if answer["rank"] == 0 or sys.argv[1:] == [EACH_RANK]:
        sys.stdout.flush()
        # One write, so that the lines of several processes do not mix.
        os.write(1, f"{MARK}{json.dumps(answer)}\n".encode())


def probe() -> dict[str, Any]:
    """Return what the ranks find out; except on rank 0 only facts about this rank."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no MPI library
        return {"rank": 0, "size": 1, "import_error": f"{type(error).__name__}: {error}"}
    world = MPI.COMM_WORLD
    own = about_this_rank(MPI)
    if world.Get_size() == 1:
        can_run = own["module"] and launch_of_several() is None
        return own | _about_all([own]) | (about_jobs() if can_run else {})
    # Without a module for MPI on each rank no pool can be made. The ranks must agree on that.
    can_run = all(world.allgather(bool(own["module"])))
    if can_run:
        own["wakeups"] = wakeups_work(world)
    everybody = world.gather(own)
    jobs = about_jobs() if can_run else {}
    if everybody is None:
        return own
    return own | _about_all(everybody) | jobs


def about_this_rank(MPI: Any) -> dict[str, Any]:
    """Return facts about this rank."""
    from bsbpool import __version__

    world = MPI.COMM_WORLD
    return {
        "rank": world.Get_rank(),
        "size": world.Get_size(),
        "host": os.uname().nodename,
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        **_about_library(MPI),
        "thread_level": _thread_level(MPI),
        "versions": f"bsbpool {__version__}, Python {sys.version.split()[0]}",
        "shared_memory": shared_memory_fault(),
        **_about_module(),
    }


def about_library() -> dict[str, Any]:
    """Return facts about the MPI library without initializing MPI, which may not be possible."""
    import mpi4py

    mpi4py.rc.initialize = mpi4py.rc.finalize = False
    from mpi4py import MPI

    return {"rank": 0, "size": 0, **_about_library(MPI)}


def _about_library(MPI: Any) -> dict[str, str]:
    version = MPI.Get_library_version().strip("\0 \n").splitlines()[0].partition(",")[0]
    return {
        "vendor": MPI.get_vendor()[0],
        "library": " ".join(version.replace("Version:", "").split()),
        "file": _library_file(),
    }


def _thread_level(MPI: Any) -> str:
    levels = [getattr(MPI, name.removeprefix("MPI_")) for name in THREAD_LEVELS]
    return THREAD_LEVELS[levels.index(MPI.Query_thread())]


def _library_file() -> str:
    """Return the file of the MPI library; an empty text where that is not known."""
    try:
        with open("/proc/self/maps") as maps:
            paths = [line.split(maxsplit=5)[-1].strip() for line in maps if "/libmpi" in line]
    except OSError:
        return ""
    return next((path for path in paths if os.path.basename(path).startswith("libmpi.")), "")


def _about_module() -> dict[str, str]:
    from bsbpool.exceptions import DependencyError
    from bsbpool.services.channels import mpi_module

    try:
        return {"module": mpi_module().__name__}
    except (DependencyError, ImportError) as error:
        return {"module": "", "module_error": str(error)}


def _about_all(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    hosts = dict.fromkeys(rank["host"] for rank in ranks)
    same = ("library", "versions", "thread_level")
    return {
        "hosts": {host: _host([r for r in ranks if r["host"] == host]) for host in hosts},
        "different": {
            name: sorted({rank[name] for rank in ranks})
            for name in same
            if len({rank[name] for rank in ranks}) > 1
        },
        "without_module": {
            rank["host"]: f"{rank['library']}: {rank['module_error']}"
            for rank in ranks
            if not rank["module"]
        },
    }


def _host(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ranks": len(ranks),
        "cores": len(set().union(*(rank["cores"] for rank in ranks))),
        "shared_memory": next((r["shared_memory"] for r in ranks if r["shared_memory"]), ""),
        "wakeups": min((r.get("wakeups", "one rank") for r in ranks), key=WAKEUPS.index),
    }


WAKEUPS = ("fail", "none", "one rank", "work")
"""Whether ranks wake each other; `min` over the ranks of a host is that of the host.

"fail": a wakeup did not arrive; "none": they share no memory; "one rank": there is no other on the
host.
"""


def wakeups_work(comm: Any) -> str:
    """Return whether this rank can be woken by the first rank of its host. Collective."""
    from mpi4py import MPI

    from bsbpool.services.node import Node

    wakeup = Node(comm).wakeup
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        if local.Get_size() == 1:
            return "one rank"
        if wakeup is None:
            return "none"
        if local.Get_rank() > 0:
            arrived = wakeup.wait(WAKEUP_SECONDS)
            local.Ibarrier().Wait()
            return "work" if arrived else "fail"
        done = local.Ibarrier()
        while not done.Test():  # a rank that does not sleep yet is not woken
            for rank in range(comm.Get_size()):
                wakeup.notify_rank(rank)
            time.sleep(0.001)
        return "work"
    finally:
        local.Free()


def about_jobs() -> dict[str, Any]:
    """Run jobs on all ranks; return whether they ran, where and how long it took. Collective."""
    from bsbpool import create_job_pool

    begun = time.perf_counter()
    try:
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.submit(rank_of_job) for _ in range(N_JOBS)] if pool.is_main() else []
            pool.execute()
            ranks = sorted({job.result for job in jobs})
    except Exception as error:  # the report shows it
        return {"jobs_error": f"{type(error).__name__}: {error}"}
    return {"jobs": len(jobs), "job_ranks": ranks, "seconds": time.perf_counter() - begun}


def rank_of_job(owner: object) -> int:
    """Return the rank that runs this job."""
    from bsbpool import services

    rank: int = services.MPI.get_rank()
    return rank
