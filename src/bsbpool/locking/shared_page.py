"""The shared memory of a lock, for the ranks of each node."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from bsbpool._core.locking.node_lock import AVAILABLE, HEAD_BYTES, SLOT_BYTES, NodeLock
from bsbpool.services.node import shared_memory

TEST_NODES = "BSBPOOL_TEST_NODES"
"""An environment variable for tests: the number of nodes that the ranks pretend to be on."""


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
    """

    lock: NodeLock
    ranks: list[int]
    n_nodes: int


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
        lock = NodeLock(memory, node.Get_rank(), len(ranks), pid, n_nodes > 1)
        node.Barrier()  # all slots are filled in before anybody uses the lock
        return NodePage(lock, ranks, n_nodes)
    finally:
        node.Free()


def _split(comm: Any) -> Any:
    from mpi4py import MPI

    pretended = int(os.environ.get(TEST_NODES, "0"))
    if pretended:
        return comm.Split(comm.Get_rank() % pretended, comm.Get_rank())
    return comm.Split_type(MPI.COMM_TYPE_SHARED)


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "?"
