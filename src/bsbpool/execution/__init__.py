"""Running the jobs of a pool: in this process, or on the other ranks of its communicator."""

from __future__ import annotations

import os
import warnings

from bsbpool import arguments
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.process import logs_if_used, running
from bsbpool.services.launchers import warn_if_alone

if TYPE_CHECKING:
    from bsbpool.run_context import RunContext
    from bsbpool.runs import Run


def execute(context: RunContext) -> None:
    """Take part in the run of a pool until it has ended."""
    run = context.run
    if run.parallel or os.environ.get("BSBPOOL_DUMP_SIGNAL") or logs_if_used() is not None:
        from bsbpool.execution.observed import execute

        execute(context)
    else:
        run.execute()


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
    if context.comm.get_size() == 1 or running.in_job:
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

    if _main_works(context):
        from bsbpool.execution.local_worker import check_thread_level

        check_thread_level()  # on all ranks alike
    channel = channel_of(context.comm.get_communicator())
    if context.comm.get_size() > 2:
        from bsbpool.execution.leaders import check_leaders

        context.leaders = check_leaders(channel.relaying, context.leaders)  # on all ranks alike
    else:
        context.leaders = None
    if context.comm.get_rank() == 0:
        from bsbpool.execution.main import MainRun

        return MainRun(context, channel)
    from bsbpool.execution.worker import WorkerRun

    return WorkerRun(context, channel)


def _main_works(context: RunContext) -> bool:
    """Return whether rank 0 runs jobs: as the pool says, or as BSBPOOL_MAIN_WORKS does."""
    if context.main_works is None:
        value = os.environ.get("BSBPOOL_MAIN_WORKS", "")
        if value not in ("", "0", "1"):
            raise ValueError(f"BSBPOOL_MAIN_WORKS is {value!r}; set it to 1 or 0, or unset it")
        context.main_works = value == "1"
    return context.main_works
