"""Running the jobs of a pool: in this process, or on the other ranks of its communicator."""

from __future__ import annotations

import warnings

from bsbpool import arguments
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.process import running
from bsbpool.services.launchers import warn_if_alone

if TYPE_CHECKING:
    from bsbpool.run_context import Run, RunContext


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


def make_run(context: RunContext) -> Run:
    """Return the run of a pool on this rank. Collective if other ranks take part."""
    from bsbpool.execution.serial import SerialRun

    # A job runs on one rank, so the other ranks do not take part in a pool that it makes.
    if context.comm.get_size() == 1 or running.inside_job:
        return SerialRun(context)
    if running.workers_dedicated:
        warnings.warn(
            "Under bsbpool.run the other ranks only run the calls of executors, so the jobs of "
            "this pool run on rank 0, one after the other. To run them on all ranks, start the "
            "program with `mpiexec -n N python script.py`, or use bsbpool.PoolExecutor.",
            RuntimeWarning,
            stacklevel=5,
        )
        return SerialRun(context)
    from bsbpool.services.channels import channel_of

    channel = channel_of(context.comm.get_communicator())
    if context.comm.get_rank() == 0:
        from bsbpool.execution.main import MainRun

        return MainRun(context, channel)
    from bsbpool.execution.worker import WorkerRun

    return WorkerRun(context, channel)
