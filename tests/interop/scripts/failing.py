"""Compiles networks that fail, one after the other in one process."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import scenes
from scenes import comm, error_of, folder, on_all, rank

import journal
import troubles
from fingerprints import fingerprints

HOOK = {"strategy": "troubles.FailingAfterPlacement", "of": None, "cells": None}


def compiled(*change: str, options: Any = None, listener: Any = None, **changes: Any) -> Any:
    """Compile a network; return its error, what ran here and what became of the jobs."""
    statuses: dict[int, tuple[str, str]] = {}

    def listen(event: Any) -> None:
        if event.reason.name == "JOB_STATUS_CHANGE":
            statuses[id(event.job)] = (event.job.name.rpartition(".")[2], event.status.name)
        return listener(event) if listener else None

    root = Path(comm.bcast(f"{folder}/{time.monotonic_ns()}.hdf5"))
    scaffold = troubles.network(root, *change, **changes)
    scaffold.register_listener(listen)
    begin = time.monotonic()
    error = error_of(lambda: scaffold.compile(**options or {}))
    seconds = time.monotonic() - begin
    comm.Barrier()
    return {
        "error": error,
        "statuses": sorted(set(statuses.values())),
        "journal": journal.take(),
        "seconds": seconds,
        "kept": len(scaffold._pool_cache),
        "digests": fingerprints(scaffold) if rank == 0 and error is None else None,
    }


def in_placement() -> Any:
    return compiled("placement", "soma", strategy="troubles.FailingPlacement")


def in_placement_slowly() -> Any:
    return compiled(
        "placement",
        "soma",
        strategy="troubles.FailingPlacement",
        options={"fail_fast": False},
    )


def in_connectivity() -> Any:
    return compiled(
        "connectivity",
        "a_soma_to_moon",
        strategy="troubles.FailingConnection",
        affinity=None,
        options={"fail_fast": False},
    )


def in_scheduling() -> Any:
    return compiled(
        "placement",
        "soma",
        strategy="troubles.UnschedulablePlacement",
        options={"fail_fast": False},
    )


def in_a_pipeline() -> Any:
    return compiled("morphologies")


def after_placement() -> Any:
    return compiled("after_placement", "shadow", **HOOK)


def after_connectivity() -> Any:
    hook = {"strategy": "troubles.FailingAfterConnectivity", "connections": None}
    return compiled("after_connectivity", "fused", **hook)


def while_others_work() -> Any:
    return compiled("placement", "soma", strategy="troubles.FailingOrSlowPlacement")


def without_pickle() -> Any:
    return compiled(
        "placement", "seed", strategy="troubles.FailingPlacement", positions=None, how="unsendable"
    )


def by_leaving() -> Any:
    return compiled(
        "placement", "seed", strategy="troubles.FailingPlacement", positions=None, how="exit"
    )


def handled_by_a_listener() -> Any:
    """The chain needs the cells that failed, so only its placement is run."""
    return compiled(
        "placement",
        "grain",
        strategy="troubles.FailingPlacement",
        options={"skip_connectivity": True, "skip_after_connectivity": True},
        listener=lambda event: getattr(event.status, "name", "") == "FAILED",
    )


def in_a_listener() -> Any:
    def listener(event: Any) -> None:
        if getattr(event.status, "name", "") == "SUCCESS":
            raise ValueError("the listener is not amused")

    return compiled(listener=listener)


def on_one_rank_only() -> Any:
    """What the ranks do after a failure is theirs: here they talk to each other."""
    outcome = compiled("after_placement", "shadow", **HOOK)
    return {"all": on_all(outcome["error"]["type"])}


def none() -> Any:
    return compiled()


scenes.play(
    in_placement,
    in_placement_slowly,
    in_connectivity,
    in_scheduling,
    in_a_pipeline,
    after_placement,
    after_connectivity,
    while_others_work,
    without_pickle,
    by_leaving,
    handled_by_a_listener,
    in_a_listener,
    on_one_rank_only,
    none,
)
