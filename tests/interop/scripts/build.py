"""Builds two networks: the small one of the example, and that of `tissue`."""

from __future__ import annotations

from typing import Any

import scenes  # first: it installs the pool
from scenes import comm, folder, rank

import network  # isort: skip
import tissue  # isort: skip
from bsb import Scaffold  # isort: skip
from fingerprints import fingerprints, sizes  # isort: skip


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
        "journal": tissue.take_journal(),
        "digests": fingerprints(scaffold) if rank == 0 else None,
        "sizes": sizes(scaffold) if rank == 0 else None,
        "added": added,
    }


scenes.play(own, example)
