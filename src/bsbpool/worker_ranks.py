"""The ranks of the workers of a pool.

Worker w is rank w + 1. If rank 0 runs jobs, too, it is the last worker.
"""

from __future__ import annotations


def rank_of(worker: int, n_ranks: int) -> int:
    """Return the rank of a worker."""
    return (worker + 1) % n_ranks


def worker_of(rank: int, n_ranks: int) -> int:
    """Return the worker of a rank that runs jobs."""
    return (rank - 1) % n_ranks
