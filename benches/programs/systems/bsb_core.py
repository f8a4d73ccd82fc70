"""bsb-core's own pool, which bsbpool replaces."""

from __future__ import annotations

from bsb import MPI, JobPool

from benches.programs.systems.support import Figures, Script, on_all_ranks, on_pool
from benches.workloads import Workload


class Owner:
    """The smallest object that the pool accepts as a scaffold."""

    _comm = MPI

    def __init__(self) -> None:
        self._pool_cache: dict = {}


def session(script: Script) -> None:
    on_all_ranks(script, once)


def once(workload: Workload | None) -> Figures:
    with JobPool(1, Owner()) as pool:
        return on_pool(pool, workload)
