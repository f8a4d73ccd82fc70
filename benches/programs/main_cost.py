"""What the main rank needs for a job and for a worker: its real loop, with virtual workers.

`--what costs` prints what ``bsbpool simulate --calibrate`` measures; `--what jobs` the CPU time of
a job while `active` of the workers have jobs and the others are idle; `--what memory` the bytes of
a worker; `--what simulate` the time of simulating jobs.
"""

from __future__ import annotations

import time

from benches.programs.common import options, say
from bsbpool.simulation import simulate
from bsbpool.simulation.calibrate import calibrate, measure_main


def slope(ranks: int, jobs: int, active: int) -> float:
    """Return the CPU time of a job without that of the start and the end of a run."""
    few, many = (
        min(measure_main(ranks, n, active=active).seconds for _ in range(3))
        for n in (jobs, 3 * jobs)
    )
    return (many - few) / (2 * jobs)


def main() -> None:
    given = options(what="jobs", workers=32, active=32, jobs=50_000)
    if given.what == "costs":
        say(**calibrate(given.jobs).as_dict())
    elif given.what == "jobs":
        cost = slope(given.workers + 1, given.jobs, given.active)
        say(jobs=1, workers=given.workers, seconds=cost)
    elif given.what == "memory":
        measure_main(3, 100)  # loads all modules
        say(bytes=measure_main(given.workers + 1, 100).resident / given.workers)
    else:
        begin = time.process_time()
        simulate(given.workers + 1, given.jobs, "lognormal:1s", leaders="node:128")
        say(jobs=given.jobs, seconds=time.process_time() - begin)


if __name__ == "__main__":
    main()
