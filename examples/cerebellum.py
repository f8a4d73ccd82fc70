"""A thinned-out slab of cerebellar cortex: six cell types, six placements, eight connections.

Mossy fibres end in glomeruli, which excite granule cells. The axons of granule cells rise and run
along x as parallel fibres through the dendrites of the Purkinje cells, flat trees that stand side
by side in planes across x. Golgi cells inhibit granule cells at the glomeruli; basket and stellate
cells inhibit Purkinje cells.

A strategy makes one job per chunk, a cube of space; only the Purkinje cells are placed by a single
job. The random numbers of a job are seeded by the strategy and the chunk, not by the rank that runs
it, so the network is the same on any number of ranks.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from bsb import (
    AllToAll,
    Branch,
    CellType,
    Chunk,
    Configuration,
    ConnectionStrategy,
    FixedIndegree,
    FixedOutdegree,
    HemitypeCollection,
    InvertedRoI,
    Morphology,
    PlacementIndicator,
    PlacementStrategy,
    config,
    refs,
    types,
)

SIZES = {"small": (100.0, 100.0), "full": (300.0, 250.0), "large": (600.0, 250.0)}
"""Extent of the slab along x and y, in micrometres."""

SEED = 1906
CHUNK = 50.0


class Reach:
    """Mixin: connect a chunk only with chunks at most `reach` away."""

    reach: np.ndarray = config.attr(
        type=types.ndarray(shape=(3,)), default=lambda: np.zeros(3), call_default=True
    )
    """Largest distance between connected chunks along x, y and z, in micrometres."""

    @cached_property
    def opposite(self) -> list[Chunk]:
        """The chunks with cells of the other population."""
        side = self.presynaptic if isinstance(self, InvertedRoI) else self.postsynaptic
        return side.get_all_chunks()

    def get_region_of_interest(self, chunk: Chunk) -> list[Chunk]:
        chunks = self.opposite
        return [other for other in chunks if np.all(abs(other.ldc - chunk.ldc) <= self.reach)]


@config.node
class LocalAllToAll(Reach, AllToAll):
    """Each pair of cells within reach is connected with the probability `affinity`."""


@config.node
class LocalIndegree(Reach, FixedIndegree):
    """Each postsynaptic cell gets `indegree` inputs from within reach."""


@config.node
class LocalOutdegree(Reach, FixedOutdegree):
    """Each presynaptic cell makes `outdegree` connections within reach."""


@config.node
class ThroughGlomeruli(Reach, ConnectionStrategy):
    """Golgi cells inhibit the granule cells of the glomeruli that their axons reach.

    Joins the two connectivity sets that it depends on, so it runs when both are complete.
    """

    def connect(self, pre: HemitypeCollection, post: HemitypeCollection) -> None:
        (golgi_cells,), (granule_cells,) = pre.placement, post.placement
        inhibition, excitation = (
            self.scaffold.get_connectivity_set(strategy.name).load_connections()
            for strategy in self.depends_on
        )
        with self.scaffold.storage.read_scope():
            golgi, reached = inhibition.from_(pre.roi).all()
            glomerulus, granule = excitation.to(post.roi).incoming().all()
        here, there = np.nonzero(reached[:, None, 0] == glomerulus[None, :, 0])
        self.connect_cells(golgi_cells, granule_cells, golgi[here], granule[there])


@config.node
class Satellites(PlacementStrategy):
    """Place `per_cell` cells in the upper half of a sphere around each cell of another type."""

    around: CellType = config.ref(refs.cell_type_ref, required=True)
    per_cell: int = config.attr(type=int, default=1)
    distance: float = config.attr(type=float, required=True)
    """Radius of the sphere, in micrometres."""

    def place(self, chunk: Chunk, indicators: dict[str, PlacementIndicator]) -> None:
        centres = self.around.get_placement_set(chunks=[chunk]).load_positions()
        centres = centres.repeat(self.per_cell, axis=0)
        for name, indicator in indicators.items():
            offsets = self.get_rng(key=(self.name, name, chunk.id)).normal(size=centres.shape)
            offsets *= self.distance / np.linalg.norm(offsets, axis=1, keepdims=True)
            offsets[:, 2] = abs(offsets[:, 2])
            self.place_cells(indicator, np.clip(centres + offsets, *chunk.box.reshape(2, 3)), chunk)


def morphologies() -> dict[str, Morphology]:
    """Grow a branching tree for each cell type whose connections depend on its shape."""
    rng = np.random.default_rng(SEED)

    def grow(start: Any, angle: float, length: float, forks: int, width: float) -> Branch:
        heading = np.array([rng.normal(scale=width), np.cos(angle), np.sin(angle)])
        points = start + np.linspace(0, length, max(int(length // 4), 2))[:, None] * heading
        turns = rng.uniform(0.2, 0.4, size=2) * (-1, 1) if forks else ()
        children = [
            grow(points[-1], angle + turn, length * rng.uniform(0.75, 0.9), forks - 1, width)
            for turn in turns
        ]
        return Branch(points, np.full(len(points), 0.3 + 0.35 * forks), children=children)

    def interneuron() -> Morphology:
        return Morphology([grow(np.zeros(3), angle, 15, 2, 0.4) for angle in (0.2, np.pi - 0.2)])

    return {
        "purkinje": Morphology([grow(np.zeros(3), np.pi / 2, 28, 5, 0.08)]),
        "basket": interneuron(),
        "stellate": interneuron(),
    }


def configuration(size: str, root: Path) -> Configuration:
    """Describe the network.

    Parameters
    ----------
    size : {"small", "full"}
        A key of `SIZES`: about 140 or 1,000 jobs.
    root : pathlib.Path
        The HDF5 file to build the network in.

    Returns
    -------
    bsb.config.Configuration
    """

    def cell(colour: str, radius: float, **spatial: Any) -> dict[str, Any]:
        return {"spatial": {"radius": radius, **spatial}, "plotting": {"color": colour}}

    def shaped(name: str, colour: str, radius: float, **spatial: Any) -> dict[str, Any]:
        return cell(colour, radius, morphologies=[{"names": [name]}], **spatial)

    def place(strategy: str, layer: str, *cells: str, **options: Any) -> dict[str, Any]:
        return {"strategy": strategy, "partitions": [layer], "cell_types": cells, **options}

    def connect(strategy: str, pre: str, post: str, **options: Any) -> dict[str, Any]:
        sides = {"presynaptic": {"cell_types": [pre]}, "postsynaptic": {"cell_types": [post]}}
        return {"strategy": strategy, **sides, **options}

    width, length = SIZES[size]
    return Configuration.default(
        name="cerebellar cortex",
        storage={"engine": "hdf5", "root": str(root)},
        rng={"seed": SEED},
        network={"x": width, "y": length, "z": 300.0, "chunk_size": CHUNK},
        regions={
            "cortex": {
                "type": "stack",
                "children": ["granular_layer", "purkinje_layer", "molecular_layer"],
            }
        },
        partitions={
            "granular_layer": {"thickness": 150.0},
            "purkinje_layer": {"thickness": 20.0},
            "molecular_layer": {"thickness": 130.0},
        },
        cell_types={
            "glomerulus": cell("#c9b458", 3.0, density=1e-4),
            "granule": cell("#e4572e", 2.5, density=4e-4),
            "golgi": cell("#4f8fea", 8.0, density=1e-5),
            "stellate": shaped("stellate", "#b78cf2", 4.0, density=2.5e-5),
            "basket": shaped("basket", "#f29ccb", 5.0, count=0),
            "purkinje": shaped("purkinje", "#3fd0a4", 8.0, planar_density=8e-4),
        },
        placement={
            "granule": place("random_placement", "granular_layer", "granule"),
            "glomerulus": place("random_placement", "granular_layer", "glomerulus"),
            "golgi": place("poisson_disk_placement", "granular_layer", "golgi"),
            "purkinje": place(
                "parallel_array_placement", "purkinje_layer", "purkinje", spacing_x=50, angle=20
            ),
            "basket": place(
                "satellites",
                "purkinje_layer",
                "basket",
                around="purkinje",
                per_cell=2,
                distance=18.0,
                depends_on=["purkinje"],
            ),
            "stellate": place(
                "poisson_disk_placement", "molecular_layer", "stellate", seamless=False
            ),
        },
        connectivity={
            "glomerulus_to_granule": connect("local_indegree", "glomerulus", "granule", indegree=4),
            "glomerulus_to_golgi": connect("local_all_to_all", "glomerulus", "golgi", affinity=0.2),
            "golgi_to_glomerulus": connect("local_outdegree", "golgi", "glomerulus", outdegree=8),
            "golgi_to_granule": connect(
                "through_glomeruli",
                "golgi",
                "granule",
                depends_on=["golgi_to_glomerulus", "glomerulus_to_granule"],
            ),
            "granule_to_golgi": connect("local_indegree", "granule", "golgi", indegree=20),
            "granule_to_purkinje": connect(
                "local_outdegree", "granule", "purkinje", outdegree=2, reach=[50, 0, 150]
            ),
            "basket_to_purkinje": connect(
                "segment_intersection", "basket", "purkinje", contact_distance=2.0
            ),
            "stellate_to_purkinje": connect(
                "segment_intersection", "stellate", "purkinje", contact_distance=2.0, affinity=0.5
            ),
        },
    )
