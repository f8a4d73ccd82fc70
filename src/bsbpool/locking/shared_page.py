"""The shared memory of a lock, for the ranks of each node."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from bsbpool._core.locking.node_lock import AVAILABLE, HEAD_BYTES, SLOT_BYTES, NodeLock
from bsbpool.services.node import is_crowded, pretended_nodes, shared_memory, usable_cores


@dataclass
class NodePage:
    """What a rank knows of its node.

    Attributes
    ----------
    lock : NodeLock
        The lock of the node.
    ranks : list of int
        The ranks of the node in the communicator, by slot.
    n_nodes : int
        The number of nodes.
    polls : bool
        Whether a rank polls before it sleeps, since this machine has a core for each of its ranks.
    """

    lock: NodeLock
    ranks: list[int]
    n_nodes: int
    polls: bool


def open_page(comm: Any) -> NodePage | None:
    """Share a page among the ranks of each node. Collective.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator.

    Returns
    -------
    NodePage or None
        None, on all ranks, where some rank cannot have it.
    """
    node = _split(comm)
    try:
        ranks: list[int] = node.allgather(comm.Get_rank())
        n_nodes = len(set(comm.allgather(ranks[0])))
        size = HEAD_BYTES + SLOT_BYTES * len(ranks)
        memory = shared_memory(node, size) if AVAILABLE else None
        if not all(comm.allgather(memory is not None)):
            return None
        # In another PID namespace (a container) the others cannot look this process up.
        pid = os.getpid() if len(set(node.allgather(_namespace()))) == 1 else 0
        polls = not _is_crowded(comm)
        lock = NodeLock(memory, node.Get_rank(), len(ranks), pid, n_nodes > 1, polls)
        node.Barrier()  # all slots are filled in before anybody uses the lock
        return NodePage(lock, ranks, n_nodes, polls)
    finally:
        node.Free()


def _split(comm: Any) -> Any:
    from mpi4py import MPI

    if pretended := pretended_nodes():
        return comm.Split(comm.Get_rank() % pretended, comm.Get_rank())
    return comm.Split_type(MPI.COMM_TYPE_SHARED)


def _is_crowded(comm: Any) -> bool:
    from mpi4py import MPI

    machine = comm.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        return is_crowded(machine.allgather(usable_cores()))
    finally:
        machine.Free()


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "?"
