"""Removing the connections of connectivity jobs that did not end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bsbpool import exceptions
from bsbpool.integrations.bsb.resuming.keys import PlannedJob
from bsbpool.integrations.bsb.resuming.placement import overlap


def tags_of(job: PlannedJob) -> set[str]:
    """Return the names of the sets that a job may write to."""
    return set(job.node.get_output_names())


def closure(jobs: Sequence[PlannedJob], left: Iterable[PlannedJob]) -> list[PlannedJob]:
    """Return the jobs that must run: those that are left, and those that write to the same blocks.

    A block has the connections between two chunks.
    """
    by_tag: dict[str, list[PlannedJob]] = {}
    for job in jobs:
        for tag in tags_of(job):
            by_tag.setdefault(tag, []).append(job)
    running = {job.text for job in left}
    new = [job for job in jobs if job.text in running]
    while new:
        job = new.pop()
        for tag in tags_of(job):
            for other in by_tag[tag]:
                if (
                    other.text not in running
                    and overlap(job.pre, other.pre)
                    and overlap(job.post, other.post)
                ):
                    running.add(other.text)
                    new.append(other)
    return [job for job in jobs if job.text in running]


def clear(file: Any, path: str, running: Sequence[PlannedJob]) -> None:
    """Delete the blocks of jobs from an HDF5 file that is open for writing; check what remains.

    Raises
    ------
    JournalError
        If the connections that remain are damaged.
    """
    by_tag: dict[str, list[PlannedJob]] = {}
    for job in running:
        for tag in tags_of(job):
            by_tag.setdefault(tag, []).append(job)
    for tag, jobs in by_tag.items():
        group = file["connectivity"].get(tag)
        if group is None:
            continue
        if "inc" not in group or "out" not in group:  # it was being made
            del file["connectivity"][tag]
            continue
        _clear_set(group, _is_dropped(jobs))
        _check_set(group, f"{path} is damaged: in {tag}")


def _is_dropped(jobs: Sequence[PlannedJob]) -> Callable[[int, int], bool]:
    """Return a function of a block, which is in one of the jobs."""
    whole = any(job.pre is None and job.post is None for job in jobs)
    by_pre: dict[int, set[int]] = {}
    pres: set[int] = set()  # with all chunks on the other side
    posts: set[int] = set()
    for job in jobs:
        if job.pre is None:
            posts.update(job.post or ())
        elif job.post is None:
            pres.update(job.pre)
        else:
            for chunk in job.pre:
                by_pre.setdefault(chunk, set()).update(job.post)

    def is_dropped(pre: int, post: int) -> bool:
        return whole or pre in pres or post in posts or post in by_pre.get(pre, ())

    return is_dropped


def _blocks(group: Any) -> list[tuple[int, Any, int, int]]:
    """Return the blocks of a chunk: the other chunk, its coordinates, begin and end of the rows."""
    from bsb import Chunk

    if "chunk_list" not in group.attrs or "global_locs" not in group:
        return []
    rows = len(group["global_locs"])
    starts = sorted(
        (int(group.attrs[str(Chunk(at, None).id)]), n, Chunk(at, None).id, at)
        for n, at in enumerate(group.attrs["chunk_list"].tolist())
    )
    ends = [start for start, _, _, _ in starts[1:]] + [rows]
    return [(id, at, start, end) for (start, _, id, at), end in zip(starts, ends, strict=True)]


def _clear_set(group: Any, is_dropped: Callable[[int, int], bool]) -> None:
    for side in ("inc", "out"):
        for name in list(group[side]):
            local = int(name)
            blocks = _blocks(group[side][name])
            kept = [
                block
                for block in blocks
                if not (
                    is_dropped(block[0], local) if side == "inc" else is_dropped(local, block[0])
                )
            ]
            if not kept:
                del group[side][name]
            elif len(kept) < len(blocks):
                _keep(group[side][name], kept)
    counts: dict[str, dict[str, int]] = {}
    for side in ("inc", "out"):
        for name, local in group[side].items():
            counts.setdefault(name, {"inc": 0, "out": 0})[side] = len(local["global_locs"])
    group.attrs["chunks"] = json.dumps(counts)
    group.attrs["len"] = sum(count["out"] for count in counts.values())


def _keep(local: Any, kept: list[tuple[int, Any, int, int]]) -> None:
    """Reduce the rows and the pointers of a chunk to some of its blocks."""
    import numpy

    for name in ("local_locs", "global_locs"):
        rows = numpy.concatenate([local[name][start:end] for _, _, start, end in kept])
        local[name].resize(len(rows), axis=0)
        local[name][:] = rows
    for name in list(local.attrs):
        del local.attrs[name]
    local.attrs["chunk_list"] = numpy.array([at for _, at, _, _ in kept], dtype=numpy.short)
    at = 0
    for id, _, start, end in kept:
        local.attrs[str(id)] = at
        at += end - start


def _check_set(group: Any, damaged: str) -> None:
    """Compare the connections as they are stored with either chunk.

    Raises
    ------
    JournalError
        If they differ.
    """
    import numpy

    n = 0
    for name, local in group["inc"].items():
        for pre, _, start, end in _blocks(local):
            n += end - start
            other = group["out"].get(str(pre))
            found = [block for block in _blocks(other) if block[0] == int(name)] if other else []
            if not found or not all(
                numpy.array_equal(local[a][start:end], other[b][found[0][2] : found[0][3]])
                for a, b in (("local_locs", "global_locs"), ("global_locs", "local_locs"))
            ):
                raise exceptions.JournalError(
                    f"{damaged} the connections from chunk {pre} to {name} differ on both sides"
                )
    if n != sum(len(local["global_locs"]) for local in group["out"].values()):
        raise exceptions.JournalError(f"{damaged} the numbers of connections differ on both sides")
