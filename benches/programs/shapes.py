"""Workloads of several shapes, one after the other, on one system."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from benches.programs.common import options, say
from benches.workloads import Workload, tasks


def main() -> None:
    given = options(system="bsbpool", shapes="trivial", width=64, steps=4, kernel=0.0, bytes=0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs the cleanup

    def script(run) -> None:
        run(Workload(tasks("trivial", 1, 8)))  # makes connections, imports modules
        figures = {}
        for shape in given.shapes.split(","):
            workload = Workload(tasks(shape, given.width, given.steps), given.kernel, given.bytes)
            figures[shape] = {"jobs": len(workload.deps), **run(workload)}
        say(**figures)

    import_module(f"benches.programs.systems.{given.system}").session(script)


if __name__ == "__main__":
    main()
