"""The program of a soak run; rank 0 prints the counts of all ranks.

python -m soak.program pools 10000          pools of all kinds, one after the other
python -m soak.program pools 500 arrays     of one kind
python -m soak.program jobs 50 100000       50 pools of 100,000 jobs each
python -m soak.program leak                 leaves things behind on purpose
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from bsbpool import create_job_pool, services

from .counting import count, count_settled, resident
from .kinds import KINDS, plain

SAMPLES = 60
"""The number of memory samples."""
WARM_UP = 3
"""Rounds before the first count, for resources that are made once."""


def soak(n: int, step: Callable[[int], None], warm_up: int) -> dict[str, Any]:
    """Take steps; return the counts before and after, and the memory samples."""
    for i in range(warm_up):
        step(i)
    before = count()
    began, memory = time.monotonic(), [resident()]
    for i in range(n):
        step(warm_up + i)
        if (i + 1) % max(1, n // SAMPLES) == 0:
            memory.append(resident())
    seconds = time.monotonic() - began
    services.MPI.barrier()
    after = count_settled(before)
    return {
        "before": before._asdict(), "after": after._asdict(), "memory": memory, "seconds": seconds,
    }  # fmt: skip


# ------------------------------------------------------------------ many pools


def pools(n: str, *names: str) -> dict[str, Any]:
    """Open, use and close pools of all kinds, or of some."""
    kinds = [kind for kind in KINDS if not names or kind.__name__ in names]

    def step(i: int) -> None:
        kinds[i % len(kinds)](i)
        if i == last:
            # A worker may be some runs behind: main does not wait for those that are away. After
            # the barrier they have sent all messages of these runs; the next run receives them.
            services.MPI.barrier()
        if i in (0, last):
            plain(i)

    warm_up = WARM_UP * len(kinds)
    last = warm_up + int(n) - 1
    return soak(int(n), step, warm_up)


# ------------------------------------------------------------------ many jobs


def small(owner: Any, number: int) -> Any:
    """Return a number, a tuple or nothing."""
    return (number, None, (number, "of a tuple"))[number % 3]


def large(owner: Any, number: int) -> Any:
    """Return an array, as one job of a thousand does."""
    return np.full(10_000, number)


def fill(pool: Any, n: int) -> None:
    """Queue jobs, a few of them with dependencies, and keep no handles."""
    for start in range(0, n, 1_000):
        numbers = range(start, min(n, start + 1_000) - 51)
        some = pool.queue_many(small, zip(numbers))
        pool.queue(large, (start,))
        for number in range(50):
            pool.queue(small, (number,), deps=some[number : number + 4])


def jobs(n_pools: str, n_jobs: str) -> dict[str, Any]:
    """Run many jobs in few pools, and keep no results."""
    n = max(1_000, int(n_jobs) // 1_000 * 1_000)

    def step(i: int) -> None:
        with create_job_pool(quiet=True) as pool:
            if pool.is_main():
                fill(pool, n)
            results = pool.execute(return_results=bool(i % 2))
            if pool.is_main():
                assert len(pool.jobs) == n
                assert results is None or len(results) == n
                assert pool.jobs[n // 2].result is not pool

    return soak(int(n_pools), step, 2)


# ------------------------------------------------------------------ a control


def leak() -> dict[str, Any]:
    """Leak one resource of each kind."""
    kept: list[Any] = []
    world = services.MPI.get_communicator()

    def step(i: int) -> None:
        pool = create_job_pool(quiet=True)
        with pool:
            pool.execute()
        kept.extend([pool, bytearray(200_000), open("/dev/null")])  # noqa: SIM115
        if world:
            kept.append(world.Dup())
            kept.append(world.Irecv(bytearray(8), (world.rank + 1) % world.size, tag=i))

    report = soak(60, step, 1)
    for request in kept[4::5] if world else ():
        request.Cancel()
    return report


def main(program: str, *args: str) -> None:
    """Run one of the programs; end all ranks if it fails on this one."""
    faulthandler.enable()
    try:
        report = {"pools": pools, "jobs": jobs, "leak": leak}[program](*args)
        reports = services.MPI.gather(report)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        time.sleep(0.5)  # mpiexec may drop output that it has not forwarded yet
        if services.MPI.get_size() > 1:
            services.MPI.abort(1)
        os._exit(1)
    if reports is not None:
        print("\nsoak:", json.dumps(reports), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
