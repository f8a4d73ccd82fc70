"""Builds networks: the small one of the example, that of `tissue`, and those of bsb's tests."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

from typing import Any

import scenes
from scenes import comm, folder, rank

import journal
import network
import tissue
from bsb import Scaffold
from bsb_test import get_test_config
from fingerprints import fingerprints, sizes

THEIRS = ["chunked", "complete", "double_neuron", "multi", "single"]
"""Configurations of bsb's own tests, of the quick ones."""


def example() -> Any:
    scaffold = network.build("small", folder / "example")
    return network.digests(scaffold) if rank == 0 else None


def own() -> Any:
    added: list[str] = []

    def listen(event: Any) -> None:
        if event.reason.name == "JOB_ADDED":
            added.append(event.job.name)

    scaffold = Scaffold(tissue.configuration(folder / "tissue.hdf5"))
    scaffold.register_listener(listen)
    scaffold.compile()
    comm.Barrier()
    return {
        "journal": journal.take(),
        "digests": fingerprints(scaffold) if rank == 0 else None,
        "sizes": sizes(scaffold) if rank == 0 else None,
        "added": added,
    }


def theirs() -> Any:
    digests = {}
    for name in THEIRS:
        configuration = get_test_config(name)
        configuration.rng.seed = 8
        configuration.storage.engine = "hdf5"
        configuration.storage.root = str(folder / f"{name}.hdf5")
        scaffold = Scaffold(configuration)
        scaffold.register_listener(lambda event: None)
        scaffold.compile()
        comm.Barrier()
        digests[name] = fingerprints(scaffold) if rank == 0 else None
    return digests


scenes.play(own, example, theirs)
