"""Detection of MPI launchers and batch systems by the environment variables that they set."""

from __future__ import annotations

import functools
import os
import sys
from collections import namedtuple
from collections.abc import Mapping

from bsbpool._typing import Any

SIZES_OF_MPI = {
    "PMI_SIZE": "PMI_RANK",  # MPICH, Intel MPI, Cray MPICH, Slurm with PMI-1 or PMI-2
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",  # Open MPI
    "MV2_COMM_WORLD_SIZE": "MV2_COMM_WORLD_RANK",  # MVAPICH2
    "MVP_COMM_WORLD_SIZE": "MVP_COMM_WORLD_RANK",  # MVAPICH 3
    "JSM_NAMESPACE_SIZE": "JSM_NAMESPACE_RANK",  # jsrun
}
"""Variables that MPI launchers set: the number of processes, and the rank."""

FURTHER_OF_MPI = ("PMI_FD", "PMI_PORT", "PMIX_RANK", "MPI_LOCALRANKID", "PALS_RANKID")
"""Other variables that MPI launchers set."""

OF_MPI = (*SIZES_OF_MPI, *SIZES_OF_MPI.values(), *FURTHER_OF_MPI)
OF_OTHERS = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "PBS_JOBID", "PBS_TASKNUM")

IGNORE = "BSB_IGNORE_PARALLEL"
"""Set by users whose processes are independent although a launcher started several."""

Launch = namedtuple("Launch", ["by", "size", "rank", "variable"])
"""A launch of several processes, as the environment describes it.

Attributes
----------
by : str
    "mpi", "slurm" or "pbs".
size : int
    The number of processes; 0 if unknown.
rank : int
    The rank of this process; -1 if unknown.
variable : str
    The variable that shows this, as ``NAME=value``.
"""


def is_started_by_mpi(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether an MPI launcher started this process.

    Child processes of a rank inherit its variables, but are not ranks themselves.
    """
    return any(name in environ for name in OF_MPI) and not _is_child_of_rank(environ)


def launch_of_several(environ: Mapping[str, str] = os.environ) -> Launch | None:
    """Return the launch of which this process is a part; None if it was started alone.

    The variables of MPI launchers take precedence, since `mpiexec` may use Slurm or PBS to reach
    the nodes. If one launcher runs inside another, the variables of both are set; a size of 1
    means that the inner launcher started this process alone.
    """
    launches = [
        Launch("mpi", _number(environ, size), _number(environ, rank, -1), _setting(environ, size))
        for size, rank in SIZES_OF_MPI.items()
        if size in environ
    ] or [*_slurm_step(environ), *_pbs_task(environ)]
    if any(launch.size == 1 for launch in launches):
        return None
    return launches[0] if launches else None


def _slurm_step(environ: Mapping[str, str]) -> list[Launch]:
    # SLURM_NTASKS and SLURM_PROCID are also set in batch scripts and allocations, which start the
    # program once. Only srun sets the number of tasks of a step.
    if "SLURM_STEP_NUM_TASKS" not in environ:
        return []
    size = _number(environ, "SLURM_STEP_NUM_TASKS")
    rank = _number(environ, "SLURM_PROCID", -1)
    return [Launch("slurm", size, rank, _setting(environ, "SLURM_STEP_NUM_TASKS"))]


def _pbs_task(environ: Mapping[str, str]) -> list[Launch]:
    # The batch script itself is task 1, also when PBS_NP is larger; pbsdsh starts the others.
    if _number(environ, "PBS_TASKNUM") < 2:
        return []
    size, rank = _number(environ, "PBS_NP"), _number(environ, "PBS_VNODENUM", -1)
    return [Launch("pbs", size, rank, _setting(environ, "PBS_TASKNUM"))]


def _number(environ: Mapping[str, str], name: str, otherwise: int = 0) -> int:
    value = environ.get(name, "")
    return int(value) if value.isdecimal() else otherwise


def _setting(environ: Mapping[str, str], name: str) -> str:
    return f"{name}={environ[name]}"


@functools.cache
def warn_if_alone() -> None:
    """Warn once if a launcher started several processes, but MPI sees only this one."""
    launch = launch_of_several()
    if launch is None or launch.rank > 0 or IGNORE in os.environ:
        return
    MPI = sys.modules.get("mpi4py.MPI")
    if _sees_others(MPI) or _is_child_of_rank(os.environ):
        return
    import warnings

    warnings.warn(_message(launch, MPI), RuntimeWarning, stacklevel=2)


def _sees_others(MPI: Any) -> bool:
    if MPI is None:
        return False
    spawned = MPI.Comm.Get_parent() != MPI.COMM_NULL
    return bool(spawned or MPI.COMM_WORLD.Get_size() > 1)


def _message(launch: Launch, MPI: Any) -> str:
    number = f"one of {launch.size} processes" if launch.size else "one of several processes"
    if MPI is None:
        seen = "mpi4py or its MPI library is missing"
        remedy = "Install them with `pip install bsbpool[mpi]`"
    else:
        vendor = MPI.get_vendor()[0]
        seen, remedy = f"MPI ({vendor}) sees only one", _REMEDIES[launch.by].format(vendor)
    return (
        f"This is {number} ({launch.variable}), but {seen}, so each process runs the "
        f"whole program. {remedy}. Start `bsbpool doctor` in the same way for "
        f"details. Set {IGNORE}=1 if the processes are meant to be independent."
    )


_REMEDIES = {
    "mpi": "Use the mpiexec of {0}, or reinstall mpi4py for the MPI of the mpiexec that was used",
    "slurm": "Use `srun --mpi=pmix` or `srun --mpi=pmi2` (`srun --mpi=list` shows the available "
    "types), or the mpiexec of {0}",
    "pbs": "Use the mpiexec of {0} in the job script",
}


def _is_child_of_rank(environ: Mapping[str, str]) -> bool:
    """Whether an ancestor of this process uses MPI and was started by the same launcher."""
    import re

    ours = {(name, environ[name]) for name in (*OF_MPI, *OF_OTHERS) if name in environ}
    pid = os.getppid()
    try:
        while pid > 1 and ours <= _environ_of(pid):
            if re.search(rb"/libp?mpi[\w+-]*\.so", _read(pid, "maps")):
                return True
            pid = int(_read(pid, "stat").rpartition(b")")[2].split()[1])
    except OSError:  # not Linux, or a process of another user
        pass
    return False


def _environ_of(pid: int) -> set[tuple[str, str]]:
    """Return the initial environment variables of a process."""
    entries = (entry.partition("=") for entry in os.fsdecode(_read(pid, "environ")).split("\0"))
    return {(name, value) for name, _, value in entries}


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
