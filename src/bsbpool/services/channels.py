"""The channel of a communicator: made once, found again, and seen off at exit."""

from __future__ import annotations

import atexit
import os
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
    for channel in list(_channels):
        channel.drain(LAST_SECONDS)
