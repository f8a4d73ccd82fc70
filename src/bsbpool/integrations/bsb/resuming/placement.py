"""Clearing the chunks of placement jobs that did not end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bsbpool import exceptions
from bsbpool.integrations.bsb.resuming.keys import Chunks, PlannedJob

Region = tuple[str, int | None]
"""A cell type in a chunk; None for all chunks."""


def regions_of(job: PlannedJob) -> set[Region]:
    """Return where a job may place cells."""
    types = [cell_type.name for cell_type in job.node.cell_types]
    if job.chunks is None:
        return {(name, None) for name in types}
    return {(name, chunk) for name in types for chunk in job.chunks}


def closure(
    jobs: Sequence[PlannedJob], left: Iterable[PlannedJob]
) -> tuple[set[Region], list[PlannedJob]]:
    """Return the regions to clear for the jobs that are left, and all jobs that then must run.

    Clearing a region takes away the cells of all jobs that place its cell type there, so that these
    must run again, which clears further regions.
    """
    running = {job.text for job in left}
    regions = {region for job in jobs if job.text in running for region in regions_of(job)}
    while True:
        whole = {name for name, chunk in regions if chunk is None}
        any_chunk = {name for name, _ in regions}
        more = [
            job
            for job in jobs
            if job.text not in running
            and any(
                (region in regions)
                or region[0] in whole
                or (region[1] is None and region[0] in any_chunk)
                for region in regions_of(job)
            )
        ]
        if not more:
            return regions, [job for job in jobs if job.text in running]
        running.update(job.text for job in more)
        regions.update(region for job in more for region in regions_of(job))


def clear(file: Any, regions: Iterable[Region]) -> None:
    """Delete the cells of regions from an HDF5 file that is open for writing."""
    for name, chunk in sorted(regions, key=str):
        group = file["placement"].get(name)
        if group is None:
            continue
        counts = json.loads(group.attrs.get("chunks", "{}"))
        for key in {*group, *counts} if chunk is None else {str(chunk)}:
            counts.pop(key, None)
            if key in group:
                del group[key]
        group.attrs["chunks"] = json.dumps(counts)
        group.attrs["len"] = sum(counts.values())


def check(file: Any, path: str) -> None:
    """Compare the counts of cells with the data that remained.

    Raises
    ------
    JournalError
        If they differ.
    """
    for name, group in file["placement"].items():
        counts = json.loads(group.attrs.get("chunks", "{}"))
        for chunk, count in counts.items():
            placed = len(group[chunk]["position"]) if chunk in group else -1
            if placed not in (count, 0):  # entities have no positions
                raise exceptions.JournalError(
                    f"{path} is damaged: {name} has {count} cells in chunk {chunk}, and {placed} "
                    "positions"
                )


def recount(file: Any) -> None:
    """Set the counts of cells and connections of all chunks to those of the sets."""
    totals: dict[str, dict[str, Any]] = {}

    def total(chunk: str) -> dict[str, Any]:
        return totals.setdefault(chunk, {"placed": 0, "connections": {"inc": 0, "out": 0}})

    for group in file["placement"].values():
        for chunk, count in json.loads(group.attrs.get("chunks", "{}")).items():
            total(chunk)["placed"] += count
    for group in file["connectivity"].values():
        for chunk, counts in json.loads(group.attrs.get("chunks", "{}")).items():
            for side in ("inc", "out"):
                total(chunk)["connections"][side] += counts[side]
    file.attrs["chunks"] = json.dumps(totals)


def overlap(a: Chunks, b: Chunks) -> bool:
    """Whether two sets of chunks have one in common."""
    return a is None or b is None or not a.isdisjoint(b)
