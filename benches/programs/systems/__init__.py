"""One module for each system that can run a workload.

Each has a function `session(script)` that is called on every rank. It opens the system, calls
`script(run)` on the main rank, and closes the system; `run(workload)` runs a workload and returns
the main process's wall and CPU seconds for it, from the first task to the last result.
"""

from typing import NamedTuple


class System(NamedTuple):
    """A system: its name, its requirements and its start."""

    title: str
    needs: tuple[str, ...]
    """Modules that it needs."""
    ranks: bool
    """Whether it runs under mpiexec, with a main rank and workers."""
    grain: float
    """A first estimate of the task length with 50 % efficiency, in microseconds."""
    steps: int
    """Steps of 32 tasks that it runs in about a second."""


SYSTEMS = {
    "bsbpool": System("bsbpool", ("bsbpool", "mpi4py"), True, 10, 512),
    "hand": System("hand-written mpi4py loop", ("mpi4py",), True, 5, 512),
    "mpi_futures": System("mpi4py.futures", ("mpi4py",), True, 500, 64),
    "pool": System("multiprocessing.Pool", ("multiprocessing",), False, 100, 128),
    "processes": System("concurrent.futures", ("concurrent.futures",), False, 200, 128),
    "bsb_core": System("bsb-core's JobPool", ("bsb", "mpi4py"), True, 5_000, 16),
    "dask": System("Dask distributed", ("distributed",), False, 10_000, 16),
    "ipython": System("ipyparallel", ("ipyparallel",), False, 10_000, 8),
}
