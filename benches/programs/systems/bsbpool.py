"""bsbpool."""

from __future__ import annotations

from benches.programs.systems.support import Figures, Script, on_all_ranks, on_pool
from benches.workloads import Workload
from bsbpool import create_job_pool


def session(script: Script) -> None:
    on_all_ranks(script, once)


def once(workload: Workload | None) -> Figures:
    with create_job_pool(quiet=True) as pool:
        return on_pool(pool, workload)
