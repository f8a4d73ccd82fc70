"""Jobs of some lengths, with and without jobs on rank 0.

The work of a job is fixed: it was measured as CPU time, so ranks that share cores take longer.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from benches.programs.common import options, say
from bsbpool import create_job_pool, services
from bsbpool.execution import local_worker

LENGTHS = (1, 10, 100, 1000)
"""Milliseconds of the jobs."""
ARRAY = np.linspace(0.0, 1.0, 20_000)


def count(n: int) -> int:
    """Hold the GIL for a number of steps."""
    total = 0
    for i in range(n):
        total += i & 3
    return total


def exponentials(n: int) -> None:
    """Compute with NumPy, which releases the GIL."""
    for _ in range(n):
        np.exp(ARRAY)


WORK: dict[str, Any] = {"python": count, "numpy": exponentials}


def work(owner: Any, kind: str, amount: float) -> tuple[int, float, float]:
    """Return the rank, and when the job began and ended."""
    began = time.monotonic()
    if kind == "sleep":
        time.sleep(amount)
    else:
        WORK[kind](int(amount))
    return services.MPI.get_rank(), began, time.monotonic()


def amount_per_ms(kind: str) -> float:
    """Return how much work takes a millisecond of CPU time."""
    if kind == "sleep":
        return 1e-3
    n = 20_000 if kind == "python" else 20
    times = []
    for _ in range(9):
        began = time.process_time()
        WORK[kind](n)
        times.append(time.process_time() - began)
    return n / (1e3 * min(times))


def gaps(ran: list[tuple[int, float, float]]) -> list[float]:
    """Return the times between the jobs of each rank other than 0, in ms: they wait for rank 0."""
    found = []
    last: dict[int, float] = {}
    for rank, began, ended in sorted(ran, key=lambda job: job[1]):
        if rank and rank in last:
            found.append(1e3 * (began - last[rank]))
        last[rank] = ended
    return found or [0.0]


def main() -> None:
    given = options(main=False, kind="sleep", budget=1.0, interval=0.0)
    if given.interval:
        local_worker.SWITCH_SECONDS = given.interval
    amount = services.MPI.bcast(amount_per_ms(given.kind))
    size = services.MPI.get_size()
    figures: dict[str, Any] = {"rate": {}, "gap": {}}
    for ms in LENGTHS:
        jobs = max(4 * size, round(1e3 * given.budget * size / ms))
        with create_job_pool(quiet=True, main_works=given.main) as pool:
            if pool.is_main():
                pool.queue_many(work, [(given.kind, ms * amount)] * jobs)
            began = time.perf_counter()
            results = pool.execute(return_results=True)
            seconds = time.perf_counter() - began
        if results:
            figures["rate"][str(ms)] = jobs / seconds
            figures["gap"][str(ms)] = statistics.fmean(gaps(list(results.values())))
    if services.MPI.get_rank() == 0:
        say(**figures)


if __name__ == "__main__":
    main()
