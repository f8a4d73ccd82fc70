"""Strategies, hooks and operations of each kind that bsb has, which keep a journal.

Their randomness is seeded by strategy and chunk, so they do the same wherever they run.
"""

from __future__ import annotations

from typing import Any

import journal
import numpy as np
from bsb import (
    AfterPlacementHook,
    AllToAll,
    CellType,
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

SIZE = 100.0
"""Extent of the tissue along x and y, in micrometres."""


class Placed:
    """Mixin: the placement of a chunk is written down."""

    def place(self, chunk: Any, indicators: Any) -> None:
        journal.write_down(self.name, [chunk], super().place, chunk, indicators)


class Connected:
    """Mixin: the connection of two regions is written down."""

    def connect(self, pre: HemitypeCollection, post: HemitypeCollection) -> None:
        chunks = [*(pre.roi or ()), *(post.roi or ())]
        journal.write_down(self.name, chunks, super().connect, pre, post)


class Processed:
    """Mixin: a hook's work is written down."""

    def postprocess(self) -> None:
        journal.write_down(self.name, None, super().postprocess)


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
    """Joins the two sets that it depends on, from one's sources to the other's targets."""

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

    journal.write_down(f"stretch{name}", None, work)
    return morphology
