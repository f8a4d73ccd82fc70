"""Shared by the tests that run under mpiexec."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mpi4py import MPI

from bsbpool import JobPool, create_job_pool

WORLD = MPI.COMM_WORLD
MAIN = WORLD.rank == 0


class _Workers(Sequence[int]):
    """The ranks that run jobs; they depend on the shape of the pools, see `conftest`."""

    @property
    def _ranks(self) -> range:
        return range(0 if os.environ.get("BSBPOOL_MAIN_WORKS") == "1" else 1, WORLD.size)

    def __len__(self) -> int:
        return len(self._ranks)

    def __getitem__(self, index: Any) -> Any:
        return self._ranks[index]


WORKERS = _Workers()


class Ran(NamedTuple):
    """Where and when a job ran; the clock is that of the machine, so that ranks can be compared."""

    rank: int
    start: float
    end: float


def give(owner: Any, value: Any = None) -> Any:
    """Return the argument."""
    return value


def rank(owner: Any) -> int:
    """Return the rank that runs the job."""
    return WORLD.rank


def work(owner: Any, seconds: float = 0.0) -> Ran:
    """Sleep; return where and when."""
    start = time.monotonic()
    time.sleep(seconds)
    return Ran(WORLD.rank, start, time.monotonic())


def fail(owner: Any, message: str = "no") -> None:
    """Raise a ValueError."""
    raise ValueError(message)


def run(fill: Callable[[JobPool], Any], **options: Any) -> Any:
    """Execute a pool on all ranks.

    Parameters
    ----------
    fill : callable
        Called with the pool on main, to queue; it returns jobs in any arrangement of lists.
    **options
        Of `create_job_pool`.

    Returns
    -------
    Any
        On main the results of those jobs in the same arrangement, None on the other ranks.
    """
    with create_job_pool(quiet=True, **options) as pool:
        jobs = fill(pool) if pool.is_main() else None
        results = pool.execute(return_results=True)
        return _exchange(jobs, results) if pool.is_main() else None


def _exchange(jobs: Any, results: Any) -> Any:
    return [_exchange(job, results) for job in jobs] if isinstance(jobs, list) else results[jobs]


def pool_works(**options: Any) -> None:
    """Check on all ranks that a pool works, for example after an error."""
    results = run(lambda pool: [pool.submit(give, n) for n in range(20)], **options)
    assert results is None or results == list(range(20))
