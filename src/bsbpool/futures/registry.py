"""The worker groups of this process, which serve executors that were given no communicator."""

from __future__ import annotations

import atexit
import shutil
import sys
import warnings
from typing import Any

from bsbpool.by_name import main_runs_alone
from bsbpool.futures.main_program import this_program
from bsbpool.futures.worker_group import WorkerGroup
from bsbpool.naming import shortened, text_of
from bsbpool.services.channels import channel_of
from bsbpool.services.launchers import is_started_by_mpi


class WorkerGroups:
    """The worker groups of this process; initially there are none.

    Attributes
    ----------
    main : WorkerGroup or None
        The other ranks, under ``python -m bsbpool.run``.
    spawned : dict of int to WorkerGroup or None
        Spawned local processes, by their number; None where they could not be started.
    siblings : mpi4py.MPI.Comm or None
        In a spawned process: the communicator of all processes that were spawned with it.
    """

    def __init__(self) -> None:
        self.main: WorkerGroup | None = None
        self.spawned: dict[int, WorkerGroup | None] = {}
        self.siblings: Any = None

    def find(self, n_workers: int | None) -> WorkerGroup | None:
        """Return the group for an executor without a communicator; spawn processes if needed.

        Returns None when a thread of this process must run the calls.
        """
        if self.main is not None:
            return self.main
        if n_workers is None or n_workers < 2:
            return None
        if n_workers not in self.spawned:
            self.spawned[n_workers] = _spawn_or_warn(n_workers)
        return self.spawned[n_workers]


worker_groups = WorkerGroups()


def _spawn_or_warn(n: int) -> WorkerGroup | None:
    """Start local processes if MPI can; otherwise warn and return None."""
    reason = _why_not_spawn() or ""
    if not reason:
        try:
            return _spawn(n)
        except Exception as error:  # of mpi4py; the class depends on the MPI
            reason = f"MPI could not start them ({shortened(text_of(error))})"
    warnings.warn(
        f"max_workers={n} is ignored and one thread runs the calls: {reason}. For more workers "
        "start the program with "
        f"`mpiexec -n {n + 1} python -m bsbpool.run script.py`.",
        RuntimeWarning,
        stacklevel=6,
    )
    return None


def _why_not_spawn() -> str | None:
    """Return why processes cannot be spawned; MPI might hang instead of raising an error."""
    if is_started_by_mpi():
        return None
    # Without a launcher, MPICH looks for mpiexec on PATH and waits forever if there is none.
    if shutil.which("mpiexec") is None:
        return "there is no mpiexec on PATH"
    try:
        import mpi4py  # noqa: F401
    except ImportError:
        return "mpi4py is not installed"
    return None


def _spawn(n: int) -> WorkerGroup:
    from mpi4py import MPI

    from bsbpool.services.mpi import MPIService

    spawned = MPI.COMM_SELF.Spawn(sys.executable, args=["-m", "bsbpool.run", "--serve"], maxprocs=n)
    comm = spawned.Merge(high=False)
    comm.bcast(this_program())
    group = WorkerGroup(MPIService(comm))
    channel_of(comm)
    main_runs_alone()
    atexit.register(group.close)
    return group
