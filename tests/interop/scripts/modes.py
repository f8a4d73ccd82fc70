"""Compiles one network again and again, with each of the ways to do so."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

from typing import Any

import scenes
from scenes import comm, error_of, folder, rank

import journal
import tissue
from bsb import Scaffold, from_storage
from fingerprints import fingerprints

networks: dict[str, Scaffold] = {}


def network(name: str = "tissue") -> Scaffold:
    if name not in networks:
        networks[name] = Scaffold(tissue.configuration(folder / f"{name}.hdf5"))
        networks[name].register_listener(lambda event: None)  # or it prints each job
    return networks[name]


def compiled(name: str = "tissue", **options: Any) -> Any:
    """Compile; return what ran here and, on main, what the network is then."""
    scaffold = network(name)
    scaffold.compile(**options)
    comm.Barrier()
    return {
        "journal": journal.take(),
        "digests": fingerprints(scaffold) if rank == 0 else None,
        "kept": len(scaffold._pool_cache),
    }


def first() -> Any:
    return compiled()


def without_a_word() -> Any:
    return error_of(network().compile)


def clear() -> Any:
    return compiled(clear=True)


def redo() -> Any:
    return compiled(redo=True, only=["post"])


def append() -> Any:
    return compiled(append=True, only=["seed", "grain"])


def only() -> Any:
    return compiled("some", only=["soma", "grain", "grain_to_grain"], skip_after_connectivity=True)


def skip() -> Any:
    return compiled("others", skip=["grain", "grain_to_grain", "c_soma_to_seed"])


def in_steps() -> Any:
    """Placement now, connectivity later."""
    placed = compiled("steps", skip_connectivity=True, skip_after_connectivity=True)
    linked = compiled("steps", append=True, skip_placement=True, skip_after_placement=True)
    return {"placed": placed, **linked}


def from_file() -> Any:
    """Open the stored network anew and build on it."""
    networks["file"] = from_storage(str(folder / "steps.hdf5"))
    networks["file"].register_listener(lambda event: None)
    return compiled("file", clear=True)


scenes.play(first, without_a_word, clear, redo, append, only, skip, in_steps, from_file)
