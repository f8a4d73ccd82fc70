"""Communicators in which the root of an executor is rank 0; cached on the original communicator."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

_keyval: int | None = None


def with_root_first(comm: Any, root: int) -> Any:
    """Return a communicator of the same ranks in which `root` is rank 0.

    Collective when it is called with a root for the first time.
    """
    if root == 0:
        return comm
    cached: dict[int, Any] | None = comm.Get_attr(_get_keyval())
    if cached is None:
        cached = {}
        comm.Set_attr(_get_keyval(), cached)
    if root not in cached:
        cached[root] = comm.Split(0, (comm.Get_rank() - root) % comm.Get_size())
    return cached[root]


def _get_keyval() -> int:
    global _keyval
    if _keyval is None:
        from mpi4py import MPI

        _keyval = MPI.Comm.Create_keyval(delete_fn=_free_cached)
    return _keyval


def _free_cached(comm: Any, keyval: int, cached: dict[int, Any]) -> None:
    """Free the derived communicators together with the original one."""
    from mpi4py import MPI

    if not MPI.Is_finalized():
        for derived in cached.values():
            with suppress(MPI.Exception):
                derived.Free()
