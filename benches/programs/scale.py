"""Jobs of equal length on several ranks: what the simulator is to predict.

Jobs sleep, so that more ranks than cores disturb each other little. The run time is the one that
the workers measured, since a sleep takes longer than asked for.
"""

from __future__ import annotations

import time
from typing import Any

from benches.programs.common import Meter, options, say
from bsbpool import create_job_pool


def nothing(owner: Any, number: int) -> None:
    """Do nothing."""


def sleeping(owner: Any, number: int, seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def once(jobs: int, us: float) -> dict[str, float] | None:
    """Run one pool; return the main rank's figures."""
    with create_job_pool(quiet=True) as pool:
        for number in range(jobs if pool.is_main() else 0):
            if us:
                pool.queue(sleeping, (number, us * 1e-6))
            else:
                pool.queue(nothing, (number,))
        meter = Meter()
        pool.execute()
        if not pool.is_main():
            return None
        figures = meter.read()
        workers = pool.statistics().workers
        return {
            **figures,
            "run": sum(worker.busy_seconds for worker in workers) / jobs,
            "ranks": len(workers) + 1,
        }


def run_times(jobs: int, us: float) -> list[float]:
    """Return the run times of some jobs in seconds, for their variation."""
    with create_job_pool(quiet=True, timestamps=True) as pool:
        queued = [
            pool.queue(sleeping, (number, us * 1e-6)) if us else pool.queue(nothing, (number,))
            for number in range(jobs if pool.is_main() else 0)
        ]
        pool.execute()
        return [job.metadata.run_time for job in queued]


def main() -> None:
    given = options(jobs=1000, us=0.0, repeats=3)
    once(100, given.us)
    runs = [once(given.jobs, given.us) for _ in range(given.repeats)]
    found = [run for run in runs if run is not None]
    listed = run_times(min(given.jobs, 200), given.us)
    if found:
        # The least disturbed run: the others share their cores with other programs for longer.
        say(jobs=given.jobs, listed=listed, **min(found, key=lambda run: run["seconds"]))


if __name__ == "__main__":
    main()
