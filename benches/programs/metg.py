"""The METG of one system for one shape; see `benches.metg`."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from benches.metg import metg
from benches.programs.common import options, say
from benches.programs.systems import SYSTEMS
from benches.workloads import Workload, tasks


def main() -> None:
    given = options(system="bsbpool", shape="trivial", width=4, budget=0.5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs the cleanup
    guess = SYSTEMS[given.system].grain

    def script(run) -> None:
        slowest = 2 * guess * 1e-6  # what a task takes, to make each probe about as long

        def efficiency(grain: float) -> float:
            nonlocal slowest
            steps = max(8, round(given.budget / slowest / given.width))
            workload = Workload(tasks(given.shape, given.width, steps), grain)
            seconds = run(workload)["seconds"]
            slowest = seconds / len(workload.deps)
            return grain * 1e-6 / slowest

        run(Workload(tasks("trivial", 1, 8)))  # makes connections, imports modules
        say(metg=metg(efficiency, guess))

    import_module(f"benches.programs.systems.{given.system}").session(script)


if __name__ == "__main__":
    main()
