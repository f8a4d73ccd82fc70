"""Communicators whose rank 0 is the one that submits: made once, kept with the communicator."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

_keyval: int | None = None


def with_root_first(comm: Any, root: int) -> Any:
    """Return the communicator with `root` as its rank 0. Collective the first time for a root."""
    if root == 0:
        return comm
    made: dict[int, Any] | None = comm.Get_attr(_key())
    if made is None:
        made = {}
        comm.Set_attr(_key(), made)
    if root not in made:
        made[root] = comm.Split(0, (comm.Get_rank() - root) % comm.Get_size())
    return made[root]


def _key() -> int:
    global _keyval
    if _keyval is None:
        from mpi4py import MPI

        _keyval = MPI.Comm.Create_keyval(delete_fn=_communicator_freed)
    return _keyval


def _communicator_freed(comm: Any, keyval: int, made: dict[int, Any]) -> None:
    from mpi4py import MPI

    if not MPI.Is_finalized():
        for group in made.values():
            with suppress(MPI.Exception):
                group.Free()
