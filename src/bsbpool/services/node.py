"""The ranks of a communicator that run on this machine."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from typing import Any

from bsbpool._core.comm.process_monitor import ProcessMonitor
from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup


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
