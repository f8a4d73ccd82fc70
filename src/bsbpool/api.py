"""`create_job_pool`, which makes a pool and its id."""

from __future__ import annotations

import itertools
import os

from bsbpool._typing import TYPE_CHECKING, Any, LazyType
from bsbpool.arguments import flag, warn_of_owner
from bsbpool.pool import JobPool
from bsbpool.process import running

if TYPE_CHECKING:
    from bsbpool._typing import Unpack
    from bsbpool.settings import PoolSettings, Settings
else:
    PoolSettings = LazyType("bsbpool.settings", "PoolSettings")
    Settings = LazyType("bsbpool.settings", "Settings")
    Unpack = LazyType("typing", "Unpack")

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
    **settings: Unpack[Settings],
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
        Whether to show no progress. By default bars on a terminal or in a notebook, else lines; the
        environment variable BSBPOOL_PROGRESS chooses, see docs/progress.md.
    max_memory : int, optional
        Bytes of results that the main rank holds in memory; further results are written to a
        private file. See `JobPool`.
    strict : bool
        Whether a run of one process pickles functions, arguments and results, as runs on several
        ranks do, so that a program behaves in the same way in both. By default only if the
        environment variable BSBPOOL_STRICT is set to 1.
    timestamps : bool
        Whether to note when and where each job ran and the sizes of its arguments and result, for
        `Job.metadata` and `JobPool.statistics`.
    options : dict
        The default options of all jobs, see `JobPool.options`.
    resources : dict
        What the ranks have, for the option `resources` of jobs: ``{"gpu": 2, "mem": "64G"}`` is
        what each host has, shared by its ranks; ``{1: {"gpu": 1}, "node7": {"gpu": 4}}`` is what
        single ranks or hosts have. Whole numbers up to 64 are devices, of which each job gets
        particular ones. By default all ranks share the GPUs in CUDA_VISIBLE_DEVICES of rank 0.
        Give the same on all ranks.
    prefetch : bool
        Whether quick jobs are sent to a worker before it has ended the one before; True by
        default. Without, each worker has one job, and the next one goes to the worker that was
        idle longest.
    main_works : bool
        Whether rank 0 runs jobs, too, while a second thread schedules. Callbacks and listeners are
        called in that thread. By default only if the environment variable BSBPOOL_MAIN_WORKS is
        set to 1. Give the same on all ranks. With one process this has no effect.
    leaders : "auto", "node", int or None
        Which ranks relay the messages between rank 0 and the other ranks, so that rank 0 sends one
        message for many ranks: with "node" one rank of each node, with a number one rank for each
        so many ranks, with None none. "auto", the default, is "node" from 1,024 ranks on. The
        environment variable BSBPOOL_LEADERS replaces the default.
    journal : str, path-like or bsbpool.journal.Journal
        A file on rank 0 that records each job that ends. The same program, started again, gets
        the results of these jobs from it and runs only the others, see docs/resuming.md. With a
        `Journal` you choose how it is written.
    deadline : float, datetime, "slurm" or "pbs"
        When the run must have ended: seconds from now; a time; or 30 s before the end of the batch
        job. Jobs that by the run times of their kind cannot end before that are not started, and
        those that still run then are interrupted. If jobs are left, `execute` raises `LeftInTime`
        on all ranks, which ends the program with exit code 75.
    grace : float
        SIGTERM, SIGUSR1 and SIGUSR2, by which batch systems announce the end of a job, end the run
        in the same way after so many seconds, by default 20 if there is a deadline. A second
        signal ends it at once. Without `deadline` and `grace`, SIGTERM ends the run at once.

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
    ids = _ids_inside_jobs if running.in_job else _ids
    further = _settings(settings)
    if not quiet and "BSBPOOL_PROGRESS" in os.environ:
        from bsbpool.listeners.default import chosen_display

        chosen_display()  # a bad value is refused on all ranks, before they make the pool
    pool = JobPool(
        next(ids),
        owner,
        fail_fast=fail_fast,
        comm=comm,
        max_memory=max_memory,
        settings=further,
    )
    if not quiet and pool.is_main():
        from bsbpool.listeners.default import default_listener

        listener = default_listener()
        if listener is not None:
            pool.add_listener(listener)
    return pool


def _settings(given: Any) -> PoolSettings | None:
    strict = os.environ.get("BSBPOOL_STRICT", "")
    if not given and strict in ("", "0"):
        return None
    from bsbpool.settings import make_settings

    return make_settings(given, strict)
