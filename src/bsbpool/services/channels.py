"""The channel of each communicator: how it is made, and its shutdown.

A channel is made when the first pool is opened on a communicator, and kept as an attribute of the
communicator (an MPI keyval). It is shut down in one of two ways:

- MPI calls `_communicator_freed` when the communicator is freed. All ranks free it, so each rank
  sends its last message to its partners and waits for theirs, at most SHUTDOWN_SECONDS. Then it
  frees the duplicate. The ranks wait here for each other, so a rank that does not free the
  communicator, or is still inside a job, delays the others.
- Python calls `_shut_down_all` when the process ends, before mpi4py finalizes MPI. A rank does not
  wait for the others here, since they may end much later. It only makes sure that its messages are
  sent, and that MPI_Finalize, which waits for all ranks, can return.

MPI deletes the attributes of COMM_WORLD when it is finalized, so `_communicator_freed` may also be
called for a channel that `_shut_down_all` has shut down.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import suppress
from typing import Any

from bsbpool import exceptions
from bsbpool.process import in_children, running
from bsbpool.services.node import Node
from bsbpool.state_dump import install

_keyval: int | None = None
_open_channels: set[Any] = set()
"""The channels of this process that have not been shut down."""
FLUSH_SECONDS = 2.0
"""The longest wait for the last messages of this rank to be sent, in seconds."""
SHUTDOWN_SECONDS = 10.0
"""The longest wait for the last messages of the other ranks, in seconds."""


def channel_of(comm: Any) -> Any:
    """Return the channel of an mpi4py communicator. The first call is collective.

    The channel uses a duplicate of the communicator, so its messages are separate from those of
    the caller. It is an attribute of the communicator and is freed with it.
    """
    channel = comm.Get_attr(_get_keyval())
    if channel is None:
        from bsbpool._core.comm.channel import Channel

        install(comm.Get_rank(), comm.Get_size())
        node = Node(comm)
        transport = mpi_module().MPITransport(comm.py2f())
        if transport.size > 2:  # else there is nobody to relay messages to
            from bsbpool._core.comm.relay import RelayTransport

            transport = RelayTransport(transport, transport.rank, node.wakeup)
        channel = Channel(transport, node.crowded, node.wakeup, node.process_monitor)
        channel.hosts = node.hosts
        comm.Set_attr(_get_keyval(), channel)
        _open_channels.add(channel)
    return channel


def mpi_module() -> Any:
    """Return the compiled module for the MPI library that mpi4py uses.

    Raises
    ------
    DependencyError
        If bsbpool was built without a module for that library.
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
    # The wheels of mpi4py have the ABI in the file name: MPI.mpich.cpython-311-....so
    named: str = os.path.basename(MPI.__file__).split(".")[1]
    if named in ("mpich", "openmpi"):
        return named
    return "openmpi" if MPI.get_vendor()[0] == "Open MPI" else "mpich"


def _get_keyval() -> int:
    """Return the key under which communicators keep their channel; make it on first use."""
    global _keyval
    if _keyval is None:
        from mpi4py import MPI

        _keyval = MPI.Comm.Create_keyval(delete_fn=_communicator_freed)
        atexit.register(_shut_down_all, os.getpid())
        in_children(_make_pools_serial)
    return _keyval


def _communicator_freed(comm: Any, keyval: int, channel: Any) -> None:
    """Shut down the channel of a communicator that is being freed, and free its duplicate."""
    from mpi4py import MPI

    if channel in _open_channels:
        _open_channels.discard(channel)
        partners = _partners(channel)
        channel.announce_shutdown(partners)
        complete = channel.await_shutdowns(partners, SHUTDOWN_SECONDS)
        channel.drain(FLUSH_SECONDS)
        channel.relaying.stop_thread()
        if not complete:
            # The duplicate is not freed: MPI would reuse its context id for the next communicator,
            # which would then receive the late messages of this one.
            return
    if not MPI.Is_finalized():
        channel.transport.free()


def _partners(channel: Any) -> list[int]:
    """Return the ranks with which this rank exchanges messages."""
    transport = channel.transport
    direct = range(1, transport.size) if transport.rank == 0 else [0]
    return sorted({*direct, *channel.relaying.partners})


def _make_pools_serial() -> None:
    """Make pools and executors of a forked child serial, as those inside jobs are."""
    running.inside_job += 1
    running.other_threads.clear()


def _shut_down_all(process: int) -> None:
    """Shut down all channels at exit; abort if MPI_Finalize would wait for a rank for ever."""
    if os.getpid() != process:  # a forked child
        return
    for channel in list(_open_channels):
        channel.relaying.stop_thread()
        channel.announce_shutdown(_partners(channel))
        channel.drain(FLUSH_SECONDS)
        channel.await_data(FLUSH_SECONDS)
        # MPI can be finalized while ranks that have announced their shutdown end.
        if (dead := channel.lost - channel.terminated) and not _is_fault_tolerant(channel):
            _abort(f"rank {min(dead)} has died")
        if channel.away and (away := channel.await_returns(FLUSH_SECONDS / 2)):
            _abort(f"rank {away[0]} is still inside a job of a run that has ended")
    if any(channel.lost - channel.terminated for channel in _open_channels):
        mpi_module().finalize(FLUSH_SECONDS)  # mpi4py would wait without a time limit
    _open_channels.clear()


def _is_fault_tolerant(channel: Any) -> bool:
    """Whether MPI continues after a rank has failed. Open MPI does not report all failures."""
    enabled = os.environ.get("OMPI_MCA_mpi_ft_enable", "0") not in ("0", "false")  # noqa: SIM112
    return enabled or channel.transport.reports_failures


def flush_stdout() -> None:
    """Flush standard output before a launcher ends the process."""
    with suppress(AttributeError, OSError, ValueError):  # missing or closed
        sys.stdout.flush()


def _abort(reason: str) -> None:
    from mpi4py import MPI

    flush_stdout()
    print(f"bsbpool: {reason}; ending all ranks with MPI_Abort.", file=sys.stderr, flush=True)
    time.sleep(0.3)  # launchers drop output that they have not forwarded yet
    MPI.COMM_WORLD.Abort(running.abort_code)
