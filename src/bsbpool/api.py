"""`create_job_pool`, which makes a pool and its id."""

from __future__ import annotations

import itertools

from bsbpool._typing import Any
from bsbpool.arguments import flag, warn_of_owner
from bsbpool.pool import JobPool
from bsbpool.process import running

_ids = itertools.count(1)
_ids_inside_jobs = itertools.count(-1, -1)
"""A job runs on one rank only, so its pools must not advance the ids that all ranks share."""


def create_job_pool(
    owner: object = None,
    *,
    comm: Any = None,
    fail_fast: bool = False,
    quiet: bool = False,
    max_memory: int | None = None,
) -> JobPool:
    """Make a job pool. Collective over the communicator.

    Parameters
    ----------
    owner : object, optional
        The first argument of every job, an object of its own on each rank.
    comm : mpi4py.MPI.Comm, optional
        The communicator of the pool; by default the owner's `_comm`, or COMM_WORLD.
    fail_fast : bool
        Whether the first failed job ends the run.
    quiet : bool
        Whether to suppress the output about the progress.
    max_memory : int, optional
        Bytes of results that the main rank holds in memory; further results are written to a
        private file. See `JobPool`.

    Returns
    -------
    JobPool
        The pool, for use in a ``with`` statement on all ranks.

    Examples
    --------
    >>> from bsbpool import create_job_pool
    >>> with create_job_pool(quiet=True) as pool:
    ...     if pool.is_main():
    ...         squares = [pool.submit(lambda owner, n: n * n, n) for n in range(4)]
    ...     results = pool.execute(return_results=True)
    >>> list(results.values())
    [0, 1, 4, 9]
    """
    quiet = flag("quiet", quiet)
    warn_of_owner(owner)
    ids = _ids_inside_jobs if running.inside_job else _ids
    pool = JobPool(next(ids), owner, fail_fast=fail_fast, comm=comm, max_memory=max_memory)
    if not quiet and pool.is_main():
        from bsbpool.listeners.terminal import terminal_listener

        listener, max_wait = terminal_listener()
        pool.add_listener(listener, max_wait=max_wait)
    return pool
