"""The channel of each communicator, and its shutdown when the process ends."""

from __future__ import annotations

import atexit
import mmap
import os
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

from bsbpool import exceptions
from bsbpool._core.runtime.process_monitor import ProcessMonitor
from bsbpool.forks import in_children
from bsbpool.running import running

_keyval: int | None = None
_channels: set[Any] = set()
FLUSH_SECONDS = 2.0
"""Seconds that a process waits at its end until its last messages are sent."""
SHUTDOWN_SECONDS = 10.0
"""Seconds that a rank that frees a communicator waits for the shutdown of the other ranks."""


def channel_of(comm: Any) -> Any:
    """Return the channel of an mpi4py communicator. The first call is collective.

    The channel uses a duplicate of the communicator, so its messages are separate from those of
    the caller. It is an attribute of the communicator and is freed with it.
    """
    channel = comm.Get_attr(_key())
    if channel is None:
        from bsbpool._core.comm.channel import Channel

        node = Node(comm)
        transport = mpi_module().MPITransport(comm.py2f())
        channel = Channel(transport, node.crowded, node.wakeup)
        channel.process_monitor = node.process_monitor
        comm.Set_attr(_key(), channel)
        _channels.add(channel)
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


class Node:
    """The ranks of a communicator on this machine. Its construction is collective.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator.

    Attributes
    ----------
    crowded : bool
        Whether there are more ranks on the machine than cores that they may use.
    process_monitor : ProcessMonitor
        The processes of the other ranks on the machine.
    wakeup : Wakeup or None
        Wakes waiting ranks of the machine; None if they share no memory.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        node = comm.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            found = node.allgather((comm.Get_rank(), os.getpid(), _cores()))
            cores = set().union(*(cores for _, _, cores in found))
            self.crowded = node.Get_size() > len(cores)
            pids = {rank: pid for rank, pid, _ in found if rank != comm.Get_rank()}
            self.process_monitor = ProcessMonitor(pids)
            self.wakeup = self._open_wakeup(comm, node, [rank for rank, _, _ in found])
        finally:
            node.Free()

    def _open_wakeup(self, comm: Any, node: Any, ranks: list[int]) -> Any:
        from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup

        if not AVAILABLE or len(ranks) == 1:
            return None
        memory = shared_memory(node, BYTES * len(ranks))
        return memory and Wakeup(memory, ranks, comm.Get_rank(), comm.Get_size())


def shared_memory(node: Any, size: int) -> Any:
    """Return memory that all ranks of `node` share; None if that fails on one of them."""
    path = memory = None
    if node.Get_rank() == 0:
        with suppress(OSError):
            file, path = tempfile.mkstemp(prefix="bsbpool-", dir="/dev/shm")
            os.ftruncate(file, size)
            os.close(file)
    path = node.bcast(path)
    if path is not None:
        with suppress(OSError), open(path, "r+b") as opened:
            memory = mmap.mmap(opened.fileno(), size)
    is_shared = all(node.allgather(memory is not None))
    if node.Get_rank() == 0 and path is not None:
        os.unlink(path)
    return memory if is_shared else None


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _key() -> int:
    global _keyval
    if _keyval is None:
        from mpi4py import MPI

        _keyval = MPI.Comm.Create_keyval(delete_fn=_communicator_freed)
        atexit.register(_flush_pending, os.getpid())
        in_children(_make_pools_serial)
    return _keyval


def _communicator_freed(comm: Any, keyval: int, channel: Any) -> None:
    from mpi4py import MPI

    complete = channel not in _channels  # `_flush_pending` has shut it down at exit
    if not complete:
        _channels.discard(channel)
        partners = _partners(channel)
        channel.announce_shutdown(partners)
        complete = channel.await_shutdowns(partners, SHUTDOWN_SECONDS)
        channel.drain(FLUSH_SECONDS)
    # Otherwise it is not freed: MPI would reuse its context id for the next communicator, which
    # would then receive its late messages.
    if complete and not MPI.Is_finalized():
        channel.transport.free()


def _partners(channel: Any) -> list[int]:
    """Return the ranks with which this rank exchanges messages."""
    transport = channel.transport
    return [*range(1, transport.size)] if transport.rank == 0 else [0]


def _make_pools_serial() -> None:
    """Make pools and executors of a forked child serial, as those inside jobs are."""
    running.inside_job += 1


def _flush_pending(process: int) -> None:
    """Send the last messages at exit; abort if finalizing MPI would wait for a rank for ever."""
    if os.getpid() != process:  # a forked child
        return
    for channel in list(_channels):
        channel.announce_shutdown(_partners(channel))
        channel.drain(FLUSH_SECONDS)
        # MPI can be finalized while ranks that have announced their shutdown end.
        if (dead := channel.lost - channel.terminated) and not _is_fault_tolerant(channel):
            _abort(f"rank {min(dead)} has died")
        if channel.away and (away := channel.await_returns(FLUSH_SECONDS / 2)):
            _abort(f"rank {away[0]} is still inside a job of a run that has ended")
    if any(channel.lost - channel.terminated for channel in _channels):
        mpi_module().finalize(FLUSH_SECONDS)  # mpi4py would wait without a time limit
    _channels.clear()


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
    MPI.COMM_WORLD.Abort(1)
