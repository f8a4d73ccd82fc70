"""A small network that uses what bsb has: each kind of strategy, hook, pipeline and label.

Everything here writes down when and where it ran in `journal`. The randomness is seeded by
strategy and chunk, so the network is the same whoever builds it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bsb import (
    AfterConnectivityHook,
    AfterPlacementHook,
    AllToAll,
    CellType,
    Configuration,
    ConnectionStrategy,
    FixedPositions,
    FuseConnectivity,
    HemitypeCollection,
    Morphology,
    NotParallel,
    PlacementStrategy,
    RandomPlacement,
    VoxelIntersection,
    config,
    refs,
)
from bsb_test import get_morphology_path

journal: list[dict[str, Any]] = []
"""What ran on this rank, in the order of its ends."""

SIZE, LAYER, CHUNK = 100.0, 50.0, 50.0


def take_journal() -> list[dict[str, Any]]:
    """Return what was written down since the last call."""
    entries, journal[:] = list(journal), []
    return entries


def write_down(name: str, chunks: Any, work: Callable[..., Any], *args: Any) -> Any:
    """Do some work and write it down."""
    begin = time.monotonic()  # one clock for all processes of a machine
    try:
        return work(*args)
    finally:
        in_main = threading.current_thread() is threading.main_thread()
        ids = None if chunks is None else [int(chunk.id) for chunk in chunks]
        journal.append(
            {
                "name": name,
                "chunks": ids,
                "begin": begin,
                "end": time.monotonic(),
                "in_main_thread": in_main,
            }
        )


class Placed:
    """Mixin: the placement of a chunk is written down."""

    def place(self, chunk: Any, indicators: Any) -> None:
        write_down(self.name, [chunk], super().place, chunk, indicators)


class Connected:
    """Mixin: the connection of two regions is written down."""

    def connect(self, pre: HemitypeCollection, post: HemitypeCollection) -> None:
        chunks = [*(pre.roi or ()), *(post.roi or ())]
        write_down(self.name, chunks, super().connect, pre, post)


class Processed:
    """Mixin: a hook's work is written down."""

    def postprocess(self) -> None:
        write_down(self.name, None, super().postprocess)


class Around(PlacementStrategy):
    """Places a cell near each cell of another type."""

    around: CellType = config.ref(refs.cell_type_ref, required=True)

    def place(self, chunk: Any, indicators: Any) -> None:
        centres = self.around.get_placement_set(chunks=[chunk]).load_positions()
        for name, indicator in indicators.items():
            offsets = self.get_rng(key=(self.name, name, chunk.id)).normal(size=centres.shape)
            low, high = chunk.box.reshape(2, 3)
            self.place_cells(indicator, np.clip(centres + offsets, low, high), chunk)


class Lattice(NotParallel, PlacementStrategy):
    """Places cells on a lattice, all in one job."""

    def place(self, chunk: Any, indicators: Any) -> None:
        points = np.stack(np.meshgrid(*[np.arange(5.0, SIZE, 30.0)] * 2, [10.0]), axis=-1)
        for indicator in indicators.values():
            self.place_cells(indicator, points.reshape(-1, 3), chunk)


class Nearest(NotParallel, ConnectionStrategy):
    """Connects each postsynaptic cell with the nearest presynaptic one, all in one job."""

    def connect(self, pre: HemitypeCollection, post: HemitypeCollection) -> None:
        (sources,), (targets,) = pre.placement, post.placement
        far = targets.load_positions()[:, None] - sources.load_positions()[None]
        source = np.linalg.norm(far, axis=2).argmin(axis=1)
        self.connect_cells(sources, targets, _whole(source), _whole(np.arange(len(source))))


class Chain(ConnectionStrategy):
    """Joins the two sets that it depends on: from the sources of one to the targets of the other."""

    def get_region_of_interest(self, chunk: Any) -> Any:
        return [other for other in self.postsynaptic.get_all_chunks() if other == chunk]

    def connect(self, pre: HemitypeCollection, post: HemitypeCollection) -> None:
        (sources,), (targets,) = pre.placement, post.placement
        first, second = (
            self.scaffold.get_connectivity_set(strategy.name).load_connections()
            for strategy in sorted(self.depends_on, key=lambda strategy: strategy.name)
        )
        with self.scaffold.storage.read_scope():
            source, between = first.from_(pre.roi).all()
            also_between, target = second.to(post.roi).incoming().all()
        here, there = np.nonzero(between[:, None, 0] == also_between[None, :, 0])
        self.connect_cells(sources, targets, source[here], target[there])


class Mark(AfterPlacementHook):
    """Labels the cells in one half of the tissue."""

    cells: CellType = config.ref(refs.cell_type_ref, required=True)

    def postprocess(self) -> None:
        placed = self.cells.get_placement_set()
        placed.label_by_mask(["left"], placed.load_positions()[:, 0] < SIZE / 2)


class Shadow(AfterPlacementHook):
    """Places a cell below each cell of another type."""

    of: CellType = config.ref(refs.cell_type_ref, required=True)
    cells: CellType = config.ref(refs.cell_type_ref, required=True)

    def postprocess(self) -> None:
        below = self.of.get_placement_set().load_positions() * [1, 1, 0]
        self.scaffold.place_cells(self.cells, below)


def _whole(ids: Any) -> np.ndarray:
    return np.column_stack([ids, np.full((len(ids), 2), -1)])


@config.node
class PlacedAround(Placed, Around):
    pass


@config.node
class PlacedAtRandom(Placed, RandomPlacement):
    pass


@config.node
class PlacedFixed(Placed, FixedPositions):
    pass


@config.node
class PlacedLattice(Placed, Lattice):
    pass


@config.node
class ConnectedAll(Connected, AllToAll):
    pass


@config.node
class ConnectedVoxels(Connected, VoxelIntersection):
    pass


@config.node
class ConnectedNearest(Connected, Nearest):
    pass


@config.node
class ConnectedChain(Connected, Chain):
    pass


@config.node
class ProcessedMark(Processed, Mark):
    pass


@config.node
class ProcessedShadow(Processed, Shadow):
    pass


@config.node
class ProcessedFuse(Processed, FuseConnectivity):
    pass


def stretch(morphology: Morphology, factor: float, name: str = "") -> Morphology:
    """Make a morphology longer along y; an operation of the pipelines."""

    def work() -> None:
        for branch in morphology.branches:
            branch.points[:, 1] *= factor

    write_down(f"stretch{name}", None, work)
    return morphology


def describe(root: Path, **more: Any) -> dict[str, Any]:
    """Describe the network, to be built in the HDF5 file `root`."""

    def connect(strategy: str, pre: str, post: str, **options: Any) -> dict[str, Any]:
        labels = options.pop("labels", [])
        sides = {
            "presynaptic": {"cell_types": [pre], "labels": labels},
            "postsynaptic": {"cell_types": [post]},
        }
        return {"strategy": f"tissue.{strategy}", **sides, **options}

    def place(strategy: str, cells: str, **options: Any) -> dict[str, Any]:
        return {
            "strategy": f"tissue.{strategy}",
            "partitions": ["sheet"],
            "cell_types": [cells],
            **options,
        }

    def file(name: str, *pipeline: Any) -> dict[str, Any]:
        return {"file": get_morphology_path(f"{name}.swc"), "pipeline": list(pipeline)}

    longer = {"func": "tissue.stretch", "factor": 3.0}
    much_longer = {"func": "tissue.stretch", "factor": 2.0, "name": " more"}
    return {
        "storage": {"engine": "hdf5", "root": str(root)},
        "rng": {"seed": 28},
        "network": {"x": SIZE, "y": SIZE, "z": LAYER, "chunk_size": CHUNK},
        "partitions": {"sheet": {"thickness": LAYER}},
        "morphologies": [
            {"name": "granule", **file("GranuleCell", "center")},
            {"files": [file("2branch"), file("3branch", much_longer)], "pipeline": [longer]},
        ],
        "cell_types": {
            "soma": {"spatial": {"radius": 3, "count": 60, "morphologies": [{"names": ["*branch"]}]}},
            "grain": {"spatial": {"radius": 2, "count": 8, "morphologies": [{"names": ["granule"]}]}},
            "moon": {"spatial": {"radius": 1, "count": 60}},
            "post": {"spatial": {"radius": 2, "count": 16}},
            "seed": {"spatial": {"radius": 2, "count": 4}},
            "shade": {"spatial": {"radius": 2, "count": 0}},
        },
        "placement": {
            "soma": place(
                "PlacedAtRandom", "soma", distribute={"rotations": {"strategy": "random"}}
            ),
            "grain": place("PlacedAtRandom", "grain"),
            "moon": place("PlacedAround", "moon", around="soma", depends_on=["soma", "post"]),
            "post": place("PlacedLattice", "post"),
            "seed": place("PlacedFixed", "seed", positions=[[i, i, i] for i in (5, 20, 60, 80)]),
        },
        "after_placement": {
            "mark": {"strategy": "tissue.ProcessedMark", "cells": "soma"},
            "shadow": {"strategy": "tissue.ProcessedShadow", "of": "post", "cells": "shade"},
        },
        "connectivity": {
            "a_soma_to_moon": connect("ConnectedAll", "soma", "moon", affinity=0.1, labels=["left"]),
            "b_moon_to_seed": connect("ConnectedNearest", "moon", "seed"),
            "c_soma_to_seed": connect(
                "ConnectedChain", "soma", "seed", depends_on=["a_soma_to_moon", "b_moon_to_seed"]
            ),
            "grain_to_grain": connect("ConnectedVoxels", "grain", "grain", contacts=2),
            "shade_to_post": connect("ConnectedNearest", "shade", "post"),
        },
        "after_connectivity": {
            "fused": {
                "strategy": "tissue.ProcessedFuse",
                "connections": ["a_soma_to_moon", "b_moon_to_seed"],
            }
        },
        **more,
    }


def configuration(root: Path, **more: Any) -> Configuration:
    """Make the configuration that `describe` describes."""
    return Configuration(describe(root, **more))
