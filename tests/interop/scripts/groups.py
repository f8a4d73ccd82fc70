"""Two groups of ranks, each with a network of its own, at the same time."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

from typing import Any

import scenes
from scenes import comm, error_of, folder, rank

import journal
import tissue
import troubles
from bsb import Scaffold, from_storage
from fingerprints import fingerprints

group = 0 if rank < 2 else 1
own_comm = comm.Split(group, rank)


def both_compile() -> Any:
    scaffold = Scaffold(tissue.configuration(folder / f"group{group}.hdf5"), comm=own_comm)
    scaffold.register_listener(lambda event: None)
    scaffold.compile()
    own_comm.Barrier()
    main = own_comm.Get_rank() == 0
    return {
        "group": group,
        "journal": journal.take(),
        "digests": fingerprints(scaffold) if main else None,
    }


def one_fails() -> Any:
    part = ("after_placement", "shadow") if group == 0 else ()
    scaffold = troubles.network(
        folder / f"failing{group}.hdf5", *part, comm=own_comm, **(HOOK if part else {})
    )
    scaffold.register_listener(lambda event: None)
    error = error_of(scaffold.compile)
    journal.take()
    return {"group": group, "error": error and error["type"]}


def all_together() -> Any:
    """The ranks of both groups work on one of the networks."""
    scaffold = from_storage(str(folder / "group0.hdf5"), comm)
    scaffold.register_listener(lambda event: None)
    scaffold.compile(clear=True)
    comm.Barrier()
    return {
        "journal": journal.take(),
        "digests": fingerprints(scaffold) if rank == 0 else None,
    }


HOOK = {"strategy": "troubles.FailingAfterPlacement", "of": None, "cells": None}

scenes.play(both_compile, one_fails, all_together)
