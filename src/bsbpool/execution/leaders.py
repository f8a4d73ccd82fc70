"""The leaders of a pool: ranks that relay the messages between rank 0 and other ranks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bsbpool.services.node import nodes_of

if TYPE_CHECKING:
    from bsbpool._core.comm.relaying import Relaying
    from bsbpool.settings import LeaderChoice

AUTO_RANKS = 1024
"""From this number of ranks on, "auto" chooses leaders."""


def check_leaders(relaying: Relaying, choice: LeaderChoice) -> LeaderChoice:
    """Return the choice, or that of BSBPOOL_LEADERS; raise the same error on all ranks.

    Raises
    ------
    ValueError
        If MPI does not support threads: a leader relays messages while it runs a job.
    """
    choice = _with_environment(choice)
    if choice not in (None, "auto") and not relaying.is_possible:
        raise ValueError(
            f"leaders={choice!r} needs an MPI that was initialized with MPI_THREAD_MULTIPLE; set "
            "mpi4py.rc.thread_level = 'multiple' before mpi4py.MPI is imported, or use leaders=None"
        )
    return choice


def set_leaders(relaying: Relaying, choice: LeaderChoice, hosts: Sequence[str]) -> None:
    """Let the leaders that `choice` names relay messages, on rank 0."""
    if choice == "auto":
        choice = "node" if len(hosts) >= AUTO_RANKS and relaying.is_possible else None
    if choice is not None and choice == relaying.choice:
        return  # they are those of the last pool
    relaying.set_leaders(leaders_of(choice, hosts))
    relaying.choice = choice


def leaders_of(choice: LeaderChoice, hosts: Sequence[str]) -> dict[int, int]:
    """Return the leader of each rank that has one.

    Parameters
    ----------
    choice : "node", int or None
        One leader for each node but that of rank 0, or for each so many ranks, or none.
    hosts : sequence of str
        The host of each rank.
    """
    if choice is None or not hosts:
        return {}
    leaders: dict[int, int] = {}
    groups = nodes_of(hosts) if choice == "node" else None
    first: dict[int, int] = {groups[0]: 0} if groups else {}
    for rank in range(1, len(hosts)):
        group = groups[rank] if groups else (rank - 1) // int(choice)
        leader = first.setdefault(group, rank)
        if leader not in (0, rank):
            leaders[rank] = leader
    return leaders


def _with_environment(choice: LeaderChoice) -> LeaderChoice:
    """Return the choice; that of BSBPOOL_LEADERS in place of the default."""
    given = os.environ.get("BSBPOOL_LEADERS", "")
    if choice != "auto" or not given:
        return choice
    from bsbpool.settings import check_leaders as check_choice

    value: object = int(given) if given.isdigit() else given
    return check_choice(None if value == "none" else value, "BSBPOOL_LEADERS")
