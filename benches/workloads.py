"""Task graphs by shape, as in Task Bench: steps of `width` tasks that wait for the step before.

Dependencies only order the tasks; what a task does (spin for so long, take and return so many
bytes) is the same for all, so that a graph costs each system the same work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

Points = Iterable[int]


def _trivial(width: int, step: int, point: int) -> Points:
    return ()


def _chain(width: int, step: int, point: int) -> Points:
    return (point,)


def _stencil(width: int, step: int, point: int) -> Points:
    return range(max(0, point - 1), min(width, point + 2))


def _tree(width: int, step: int, point: int) -> Points:
    return (point // 2,)


def _fft(width: int, step: int, point: int) -> Points:
    """Join points whose numbers differ in one bit: the next bit in each step, cyclically."""
    levels = max(1, (width - 1).bit_length())
    partner = point ^ (1 << (step - 1) % levels)
    return sorted({point, partner} - {p for p in (partner,) if p >= width})


def _barrier(width: int, step: int, point: int) -> Points:
    return range(width)


def _random(width: int, step: int, point: int) -> Points:
    # A seed for each task, so that its dependencies do not depend on those before it.
    dice = random.Random(f"{width}/{step}/{point}")
    return sorted(dice.sample(range(width), min(3, width)))


SHAPES: dict[str, Callable[[int, int, int], Points]] = {
    "trivial": _trivial,
    "chain": _chain,
    "stencil": _stencil,
    "tree": _tree,
    "fft": _fft,
    "barrier": _barrier,
    "random": _random,
}
"""For each shape, which points of the step before a point waits for."""


def width_of(shape: str, width: int, step: int) -> int:
    """Return the number of tasks of a step. A tree doubles until it has the full width."""
    return min(width, 1 << min(step, 62)) if shape == "tree" else width


def tasks(shape: str, width: int, steps: int) -> list[tuple[int, ...]]:
    """Return for each task, in order, the numbers of the tasks that it waits for.

    Tasks of a step that wait for the same ones share the tuple.
    """
    found: list[tuple[int, ...]] = []
    begin = 0
    for step in range(steps):
        end = len(found)
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        for point in range(width_of(shape, width, step)):
            before = SHAPES[shape](width, step, point) if step else ()
            needed = tuple(begin + other for other in before)
            found.append(shared.setdefault(needed, needed))
        begin = end
    return found


class Workload(NamedTuple):
    """A graph, and the work of each of its tasks."""

    deps: list[tuple[int, ...]]
    kernel: float = 0.0
    """Busy time of each task, in microseconds."""
    bytes: int = 0
    """Bytes that each task takes and returns."""
