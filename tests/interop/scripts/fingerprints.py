"""Fingerprints of all that a network file holds, whatever the order in which it was stored."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def fingerprints(scaffold: Any) -> dict[str, str]:
    """Return a digest of each table of a network, which only the calling rank reads."""
    with scaffold.storage.read_scope():
        tables = {**_cells(scaffold), **_connections(scaffold), **_morphologies(scaffold)}
    return {name: _digest(table) for name, table in sorted(tables.items())}


def sizes(scaffold: Any) -> dict[str, int]:
    """Return how many cells and connections there are, by type and set."""
    with scaffold.storage.read_scope():
        sets = [*scaffold.get_placement_sets(), *scaffold.get_connectivity_sets()]
        return {part.tag: len(part) for part in sets}


def _cells(scaffold: Any) -> dict[str, np.ndarray]:
    tables = {}
    for cells in scaffold.get_placement_sets():
        positions = cells.load_positions().astype("<f8")
        columns = [positions]
        if len(positions):
            loaded = cells.load_morphologies(allow_empty=True)
            if len(loaded):
                columns.append(np.array(loaded.get_indices())[:, None])
                columns.append(np.array([r.as_euler("xyz") for r in cells.load_rotations()]))
            for label in ("left",):
                columns.append(cells.get_label_mask([label])[:, None])
        tables[f"{cells.tag} cells"] = np.hstack(columns).astype("<f8")
    return tables


def _connections(scaffold: Any) -> dict[str, np.ndarray]:
    return {
        f"{links.tag} links": np.hstack(links.load_connections().as_globals().all()).astype("<i8")
        for links in scaffold.get_connectivity_sets()
    }


def _morphologies(scaffold: Any) -> dict[str, np.ndarray]:
    return {
        f"{stored.name} shape": np.vstack([b.points for b in stored.load().branches]).astype("<f8")
        for stored in scaffold.morphologies.all()
    }


def _digest(rows: np.ndarray) -> str:
    return f"{len(rows)} " + hashlib.sha256(rows[np.lexsort(rows.T)].tobytes()).hexdigest()
