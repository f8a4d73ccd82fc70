"""The channel of a communicator: made once, found again, and seen off at exit."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from bsbpool import exceptions

_keyval: int | None = None
_channels: set[Any] = set()
LAST_SECONDS = 2.0
"""How long a process that ends waits for its last messages to leave."""


def channel_of(comm: Any) -> Any:
    """Return the channel of an mpi4py communicator. Collective the first time.

    The channel works on a duplicate of the communicator, so its messages never
    meet the caller's. It is kept as an attribute of the communicator and goes
    with it.
    """
    channel = comm.Get_attr(_key())
    if channel is None:
        from bsbpool._core.channel import Channel

        transport = mpi_module().MPITransport(comm.py2f())
        channel = Channel(transport, crowded=is_crowded(comm))
        channel.processes = Processes(comm)
        comm.Set_attr(_key(), channel)
        _channels.add(channel)
    return channel


def mpi_module() -> Any:
    """Return the compiled MPI room for the MPI that mpi4py uses.

    Raises
    ------
    DependencyError
        When this build of bsbpool has none for that MPI.
    """
    import importlib

    from mpi4py import MPI

    for name in ("native", _abi(MPI)):
        try:
            return importlib.import_module(f"bsbpool._core.mpi_{name}")
        except ModuleNotFoundError:
            continue
    raise exceptions.DependencyError(
        f"bsbpool was built without support for {MPI.get_vendor()[0]}; reinstall it with the "
        "mpicc of that MPI on PATH: CMAKE_ARGS=-DBSBPOOL_MPI=mpicc pip install bsbpool"
    )


def _abi(MPI: Any) -> str:
    # mpi4py's wheels name the ABI in the file name: MPI.mpich.cpython-311-....so
    named: str = os.path.basename(MPI.__file__).split(".")[1]
    if named in ("mpich", "openmpi"):
        return named
    return "openmpi" if MPI.get_vendor()[0] == "Open MPI" else "mpich"


def is_crowded(comm: Any) -> bool:
    """Whether the ranks of this node outnumber the cores that they may use. Collective."""
    from mpi4py import MPI

    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        cores: set[int] = set()
        for own in node.allgather(_cores()):
            cores |= own
        return bool(node.Get_size() > len(cores))
    finally:
        node.Free()


class Processes:
    """The processes of the ranks on this node, to see which of them still live.

    An MPI without fault tolerance does not say that a rank died. Collective to make.
    """

    any_dead = False
    """Whether a rank was found dead: then MPI cannot be finalized any more."""

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        node = comm.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            pids = dict(node.allgather((comm.Get_rank(), os.getpid())))
        finally:
            node.Free()
        # In another PID namespace (a container) a number says nothing.
        self._pids = {rank: pid for rank, pid in pids.items() if _lives(pid)}

    def dead(self) -> list[int]:
        """Return the ranks of this node whose processes are gone."""
        ranks = [rank for rank, pid in self._pids.items() if not _lives(pid)]
        Processes.any_dead = Processes.any_dead or bool(ranks)
        return ranks


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _key() -> int:
    global _keyval
    if _keyval is None:
        from mpi4py import MPI

        _keyval = MPI.Comm.Create_keyval(delete_fn=_communicator_freed)
        atexit.register(_see_off)
    return _keyval


def _communicator_freed(comm: Any, keyval: int, channel: Any) -> None:
    from mpi4py import MPI

    _channels.discard(channel)
    if not MPI.Is_finalized():
        channel.transport.free()


def _see_off() -> None:
    if Processes.any_dead:
        from mpi4py import MPI

        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(1)  # finalizing would wait for the dead
    for channel in list(_channels):
        channel.drain(LAST_SECONDS)
