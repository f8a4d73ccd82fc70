"""How a pool's jobs are run: here, or by the other ranks.

`prepare` chooses; see `Run` for what can be asked of its choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

from bsbpool import arguments
from bsbpool.running import running
from bsbpool.services.launchers import warn_if_alone

if TYPE_CHECKING:
    from bsbpool.job import Job
    from bsbpool.pool import JobPool


class Run(Protocol):
    """A pool's way of running jobs on this rank."""

    parallel: bool

    def execute(self) -> None:
        """Take part in the run until it is over."""

    def leave(self) -> None:
        """Let go; called once, with or without an execution before."""

    def wake(self) -> None:
        """Notice that something changed; from any thread."""

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need, as far as this rank knows."""

    def perform(self, job: Job) -> None:
        """Run a RUNNING job in this process and end it."""


def service_for(owner: Any, comm: Any = None) -> Any:
    """Return the `MPIService` of a pool: of `comm`, of its owner, or of all ranks."""
    service = _service_for(owner, comm)
    warn_if_alone()
    return service


def _service_for(owner: Any, comm: Any) -> Any:
    from bsbpool import services
    from bsbpool.services.mpi import MPIService

    name = "comm"
    if comm is None:
        comm, name = getattr(owner, "_comm", None), "owner._comm"
    if comm is None:
        return services.MPI
    arguments.communicator(comm, name)
    return comm if hasattr(comm, "get_communicator") else MPIService(comm)


def prepare(pool: JobPool) -> Run:
    """Choose how a pool runs. Collective where it runs on several ranks."""
    from bsbpool.execution.serial import SerialRun

    # A job is on one rank alone: a pool that it opens cannot count on the others.
    if pool._comm.get_size() == 1 or running.inside_job:
        return SerialRun(pool)
    if running.apart:
        warnings.warn(
            "Under bsbpool.run the other ranks only run the calls of executors, so the jobs of "
            "this pool run on rank 0, one after the other. To run them on all ranks, start the "
            "program with `mpiexec -n N python script.py`, or use bsbpool.PoolExecutor.",
            RuntimeWarning,
            stacklevel=5,
        )
        return SerialRun(pool)
    from bsbpool.services.channels import channel_of

    channel = channel_of(pool._comm.get_communicator())
    if pool._comm.get_rank() == 0:
        from bsbpool.execution.main import MainRun

        return MainRun(pool, channel)
    from bsbpool.execution.serving import WorkerRun

    return WorkerRun(pool, channel)
