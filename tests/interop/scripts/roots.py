"""A backend of scinexus whose root is another rank, and one with a number of workers."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI
from playing import error_of, show
from scinexus import parallel, set_parallel_backend

from bsbpool.futures import PoolExecutor
from bsbpool.integrations.scinexus import BsbPoolBackend

WORLD = MPI.COMM_WORLD


def asked(_: int) -> list[Any]:
    backend = parallel.get_parallel_backend()
    return [WORLD.Get_rank(), backend.get_rank(), backend.is_master_process(), backend.get_size()]


def seen_by(backend: BsbPoolBackend) -> Any:
    set_parallel_backend(backend)
    ranks = [WORLD.Get_rank(), backend.get_rank(), backend.is_master_process(), backend.get_size()]
    return ranks, sorted(backend.imap(asked, range(40), chunksize=1))


second = min(1, WORLD.Get_size() - 1)
with BsbPoolBackend(root=second) as main:
    if main is not None:

        def root() -> Any:
            return seen_by(main)

        show(root)

with BsbPoolBackend(max_workers=2) as main:
    if main is not None:

        def workers() -> Any:
            """In one process they are spawned, where MPI can."""
            wanted = main._main.num_workers
            few = error_of(main.imap, abs, [1], if_serial="raise")
            return wanted, *seen_by(main), few and few[0]

        show(workers)

with PoolExecutor(root=second) as executor:
    if executor is not None:

        def another() -> Any:
            """The block is that of an executor, which has another root."""
            return seen_by(BsbPoolBackend())

        show(another)
