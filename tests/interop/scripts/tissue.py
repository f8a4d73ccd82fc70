"""A small network that uses what bsb has: each kind of strategy, hook, pipeline and label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bsb import Configuration
from bsb_test import get_morphology_path
from parts import SIZE

LAYER, CHUNK = 50.0, 50.0


def describe(root: Path, **more: Any) -> dict[str, Any]:
    """Describe the network, to be built in the HDF5 file `root`."""

    def connect(strategy: str, pre: str, post: str, **options: Any) -> dict[str, Any]:
        labels = options.pop("labels", [])
        sides = {
            "presynaptic": {"cell_types": [pre], "labels": labels},
            "postsynaptic": {"cell_types": [post]},
        }
        return {"strategy": f"parts.{strategy}", **sides, **options}

    def place(strategy: str, cells: str, **options: Any) -> dict[str, Any]:
        return {
            "strategy": f"parts.{strategy}",
            "partitions": ["sheet"],
            "cell_types": [cells],
            **options,
        }

    def file(name: str, *pipeline: Any) -> dict[str, Any]:
        return {"file": get_morphology_path(f"{name}.swc"), "pipeline": list(pipeline)}

    longer = {"func": "parts.stretch", "factor": 3.0}
    much_longer = {"func": "parts.stretch", "factor": 2.0, "name": " more"}
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
            "soma": {
                "spatial": {"radius": 3, "count": 60, "morphologies": [{"names": ["*branch"]}]}
            },
            "grain": {
                "spatial": {"radius": 2, "count": 8, "morphologies": [{"names": ["granule"]}]}
            },
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
            "mark": {"strategy": "parts.ProcessedMark", "cells": "soma"},
            "shadow": {"strategy": "parts.ProcessedShadow", "of": "post", "cells": "shade"},
        },
        "connectivity": {
            "a_soma_to_moon": connect(
                "ConnectedAll", "soma", "moon", affinity=0.1, labels=["left"]
            ),
            "b_moon_to_seed": connect("ConnectedNearest", "moon", "seed"),
            "c_soma_to_seed": connect(
                "ConnectedChain", "soma", "seed", depends_on=["a_soma_to_moon", "b_moon_to_seed"]
            ),
            "grain_to_grain": connect("ConnectedVoxels", "grain", "grain", contacts=2),
            "shade_to_post": connect("ConnectedNearest", "shade", "post"),
        },
        "after_connectivity": {
            "fused": {
                "strategy": "parts.ProcessedFuse",
                "connections": ["a_soma_to_moon", "b_moon_to_seed"],
            }
        },
        **more,
    }


def configuration(root: Path, **more: Any) -> Configuration:
    """Make the configuration that `describe` describes."""
    return Configuration(describe(root, **more))
