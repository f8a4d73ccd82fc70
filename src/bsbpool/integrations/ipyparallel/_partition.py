"""How sequences are distributed over engines, and joined again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from bsbpool.naming import brief


def parts_of(items: Any, n: int, dist: str) -> list[Any]:
    """Return `n` parts of a sequence: blocks ("b") or every n-th item ("r").

    Raises
    ------
    ValueError
        When `dist` is something else.
    """
    if dist == "r":
        return [items[start::n] for start in range(n)]
    if dist != "b":
        raise ValueError(f"dist must be 'b' (blocks) or 'r' (round robin), got {brief(dist)}")
    base, extra = divmod(len(items), n)
    ends = [0]
    for index in range(n):
        ends.append(ends[-1] + base + (index < extra))
    return [items[start:end] for start, end in pairwise(ends)]


def flatten(parts: list[Any]) -> list[Any]:
    """Return the items of lists as one list."""
    return [item for part in parts for item in part]


def joiner(dist: str) -> Callable[[list[Any]], Any]:
    """Return the function that joins the parts of `parts_of`."""
    return join_round_robin if dist == "r" else join


def join(parts: Sequence[Any]) -> Any:
    """Join parts: arrays to an array, everything else to a list."""
    arrays = [part for part in parts if hasattr(part, "dtype") and hasattr(part, "shape")]
    if arrays and len(arrays) == len(parts):
        from numpy import concatenate

        return concatenate([part for part in parts if len(part)] or parts[:1])
    return [item for part in parts for item in as_sequence(part)]


def join_round_robin(parts: Sequence[Any]) -> Any:
    """Join parts of which each has every n-th item."""
    total = sum(len(part) for part in parts)
    items = [parts[index % len(parts)][index // len(parts)] for index in range(total)]
    if parts and all(hasattr(part, "dtype") for part in parts):
        from numpy import asarray

        return asarray(items)
    return items


def as_sequence(part: Any) -> Any:
    """Return a part that is not a sequence, such as one number, as a list of one."""
    if isinstance(part, (str, bytes)) or not hasattr(part, "__iter__"):
        return [part]
    return part
