"""The ranks of a communicator that run on this machine."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bsbpool._core.comm.process_monitor import ProcessMonitor
from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup

TEST_NODES = "BSBPOOL_TEST_NODES"
"""An environment variable for tests: the number of nodes that the ranks pretend to be on."""


def pretended_nodes() -> int:
    """Return the number of nodes that the ranks pretend to be on, in tests; else 0."""
    return int(os.environ.get(TEST_NODES, "0"))


def nodes_of(hosts: Sequence[str]) -> list[int]:
    """Return the number of the node of each rank."""
    if pretended := pretended_nodes():
        return [rank % pretended for rank in range(len(hosts))]
    numbers = {host: i for i, host in enumerate(dict.fromkeys(hosts))}
    return [numbers[host] for host in hosts]


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
    hosts : tuple of str
        The name of each rank's machine; empty except on rank 0.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        node = comm.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            names = comm.gather(os.uname().nodename)
            self.hosts = tuple(map(sys.intern, names or ()))  # one string for each machine
            found = node.allgather((comm.Get_rank(), os.getpid(), usable_cores()))
            self.crowded = is_crowded([cores for _, _, cores in found])
            own = [rank for rank, _, _ in found].index(comm.Get_rank())
            others = found[own + 1 :] + found[:own]  # so that the ranks do not begin with the same
            self.process_monitor = ProcessMonitor({rank: pid for rank, pid, _ in others})
            self.wakeup = self._open_wakeup(comm, node, [rank for rank, _, _ in found])
        finally:
            node.Free()

    def _open_wakeup(self, comm: Any, node: Any, ranks: list[int]) -> Wakeup | None:
        if not AVAILABLE or len(ranks) == 1:
            return None
        memory = shared_memory(node, BYTES * len(ranks))
        if memory is None:
            return None
        return Wakeup(memory, ranks, comm.Get_rank(), comm.Get_size())


def shared_memory(node: Any, size: int) -> mmap.mmap | None:
    """Return memory that all ranks of `node` share; None if that fails on one of them."""
    path = memory = None
    if node.Get_rank() == 0:
        with suppress(OSError):
            path = _make_file(size)
    path = node.bcast(path)
    if path is not None:
        with suppress(OSError), open(path, "r+b") as opened:
            memory = mmap.mmap(opened.fileno(), size)
    is_shared = all(node.allgather(memory is not None))
    if node.Get_rank() == 0 and path is not None:
        os.unlink(path)
    return memory if is_shared else None


def _make_file(size: int) -> str:
    """Make a file in memory; return its path."""
    # `tempfile` would import many modules.
    path = f"/dev/shm/bsbpool-{os.getpid()}-{os.urandom(8).hex()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, size)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(file)
    return path


def is_crowded(cores: list[set[int]]) -> bool:
    """Return whether the ranks of a machine outnumber the cores, of those that each may use."""
    return len(cores) > len(set().union(*cores))


def usable_cores() -> set[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
