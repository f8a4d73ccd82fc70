"""The program of a chaos run: pools of jobs, one after the other, while ranks die.

    mpiexec ... python -m chaos.program FOLDER SEED

Every rank keeps a ledger of its own in the folder, in which a job is noted when it begins and when
it ends: what main believes is compared with these afterwards, not with itself.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bsbpool import JobStatus, WorkerLostError, WorkflowError, create_job_pool
from chaos.plan import EXIT, OVER, Plan

SIZES = (0, 10, 5_000, 200_000)


class Ledger:
    """The ledger of a rank, a file that remains after its death."""

    def __init__(self, folder: str) -> None:
        path = Path(folder) / f"ledger-{os.getpid()}"
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, *words: Any) -> None:
        os.write(self.file, (" ".join(map(str, words)) + "\n").encode())


class Owner:
    """The owner of the pool: the first argument of jobs."""

    def __init__(self, folder: str) -> None:
        self.ledger = Ledger(folder)


def work(owner: Owner, pool: int, number: int, seconds: float, size: int, end: str) -> Any:
    """Take some time, then return a value that can be checked, or fail."""
    owner.ledger.note("begin", pool, number)
    if end in DEATHS:
        owner.ledger.note("die", os.getpid(), time.time())
        DEATHS[end]()
    time.sleep(seconds)
    if end == "raise":
        raise ValueError(number)
    result = number, np.full(size, number % 251, np.uint8)
    owner.ledger.note("end", pool, number)
    return result


DEATHS = {
    "exit": lambda: os._exit(EXIT),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
}


def run_pool(owner: Owner, plan: Plan, index: int) -> dict[str, Any] | None:
    """Run one pool; return the outcomes of its jobs on main."""
    rng = random.Random(f"{plan.seed}-{index}")
    noticed: list[tuple[int, float]] = []

    def listener(progress: Any) -> bool:
        if getattr(progress, "status", None) is JobStatus.ABORTED:
            noticed.append((progress.job.error.rank, time.time()))
        return getattr(progress, "status", None) in (JobStatus.ABORTED, JobStatus.FAILED)

    with create_job_pool(owner, quiet=True) as pool:
        jobs: list[Any] = []
        deps: list[list[int]] = []
        if pool.is_main():
            pool.add_listener(listener)
            for number in range(plan.n_jobs):
                few = rng.choice([0, 0, 0, 1, 2])
                deps.append(rng.sample(range(number), min(few, number)))
                seconds = rng.choice(plan.seconds) * rng.random()
                end = plan.ends.get((index, number), "")
                args = (index, number, seconds, rng.choice(SIZES), end)
                jobs.append(pool.queue(work, args, deps=[jobs[n] for n in deps[-1]]))
        over = ""
        try:
            pool.execute()
        except (WorkflowError, WorkerLostError) as error:
            over = f"{type(error).__name__}: {error}"
        if not pool.is_main():
            return None
        return {
            "over": over,
            "noticed": noticed,
            "jobs": [
                {
                    "status": job.status.value,
                    "deps": deps[number],
                    "rank": getattr(job.error, "rank", None),
                    "right": job.status is not JobStatus.SUCCESS or is_right(job, number),
                }
                for number, job in enumerate(jobs)
            ],
        }


def is_right(job: Any, number: int) -> bool:
    """Return whether a job has its own result."""
    value, array = job.result
    return bool(value == number and (array == number % 251).all())


def main(folder: str, seed: str) -> None:
    """Run the pools of a plan."""
    faulthandler.register(signal.SIGUSR2, file=sys.stderr)
    plan = Plan(int(seed))
    owner = Owner(folder)
    with create_job_pool(quiet=True) as pool:  # the first sets up connections
        pool.execute()
        rank = pool._comm.get_rank()
    print(f"here is {rank} {os.getpid()}", flush=True)
    believed = [run_pool(owner, plan, index) for index in range(plan.n_pools)]
    if rank == 0:
        (Path(folder) / "believed.json").write_text(json.dumps(believed))
    print(f"end {rank}", flush=True)
    if any(pool and pool["over"] for pool in believed):
        sys.exit(OVER)


if __name__ == "__main__":
    main(*sys.argv[1:])
