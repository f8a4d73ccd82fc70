"""A reader-writer lock over the ranks of a communicator.

Ranks of one node share a page of memory, so that an uncontended operation takes about a microsecond
and needs neither the kernel nor MPI. Nodes pass the lock on through a queue in MPI windows.
"""

from bsbpool.locking.controller import (
    LockController,
    LockTakeoverWarning,
    SharedMemoryError,
    describe_locks,
    recover_locks,
    sync,
)
from bsbpool.locking.fences import Fence, FencedSignal

__all__ = [
    "Fence",
    "FencedSignal",
    "LockController",
    "LockTakeoverWarning",
    "SharedMemoryError",
    "describe_locks",
    "recover_locks",
    "sync",
]
