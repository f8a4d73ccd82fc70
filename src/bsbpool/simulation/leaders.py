"""Which ranks of a simulation are leaders, and how many workers each of them has."""

from __future__ import annotations

from typing import NamedTuple

from bsbpool.execution.leaders import AUTO_RANKS

NODE = 128
"""The ranks of a node, for ``auto``."""
DEDICATED = 16
"""A leader with at least this many workers runs no jobs."""


class Groups(NamedTuple):
    """The workers of each leader, and whether the leader is one of them."""

    sizes: list[int]
    leaders_work: list[bool]
    ranks_per_group: int

    @property
    def workers(self) -> int:
        """The number of workers."""
        return sum(self.sizes)

    @property
    def leaders(self) -> int:
        """The number of leaders."""
        return len(self.leaders_work)


def groups_of(ranks: int, leaders: str | int | None) -> Groups:
    """Return the groups of workers.

    Parameters
    ----------
    ranks : int
        The number of ranks; rank 0 is the main rank.
    leaders : str, int or None
        ``none``; ``node:K``, one for each node of K ranks, that of main included; K, one for each K
        ranks besides main; ``auto``, ``node:128`` from 1,024 ranks on.

    Raises
    ------
    ValueError
        If it is something else.
    """
    text = "none" if leaders is None else str(leaders)
    if text == "auto":
        text = f"node:{NODE}" if ranks >= AUTO_RANKS else "none"
    if text == "none":
        return Groups([0, ranks - 1], [], 0)
    name, colon, given = text.rpartition(":")
    if not given.isdecimal() or int(given) < 2 or (colon and name != "node"):
        raise ValueError(
            f"leaders: {leaders!r} is unknown; use none, auto, node:K (K ranks in a node) or K "
            "(a leader for each K ranks), where K is a whole number of at least 2"
        )
    size = int(given)
    first = size - 1 if name == "node" else size  # main is in the first node
    counts = [min(first, ranks - 1)]
    while sum(counts) < ranks - 1:
        counts.append(min(size, ranks - 1 - sum(counts)))
    leaders_work = [count - 1 < DEDICATED for count in counts]
    sizes = [
        count if works else count - 1 for count, works in zip(counts, leaders_work, strict=True)
    ]
    return Groups(sizes, leaders_work, size)
