"""METG(50 %): the shortest tasks, in microseconds, that a system runs at 50 % efficiency.

Efficiency is the time that the tasks' own work takes, shared by the workers, over the time that
the run took. Found by halving (or doubling) the tasks' length until the efficiency passes 50 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable

HALF = 0.5
FACTOR = 2.0


def metg(efficiency: Callable[[float], float], guess: float, probes: int = 16) -> float:
    """Return the METG, given a function that measures the efficiency for a task length."""
    grain, measured = guess, efficiency(guess)
    # Go to shorter tasks while the system is efficient, else to longer ones.
    factor = 1 / FACTOR if measured >= HALF else FACTOR
    for _ in range(probes):
        next_grain = grain * factor
        next_measured = efficiency(next_grain)
        if (measured >= HALF) != (next_measured >= HALF):
            return between((grain, measured), (next_grain, next_measured))
        grain, measured = next_grain, next_measured
    raise ValueError(f"the efficiency is {measured:.0%} even at {grain:g} us")


def between(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the length with 50 % efficiency, by interpolation on a logarithmic scale."""
    (x1, y1), (x2, y2) = (math.log(one[0]), one[1]), (math.log(other[0]), other[1])
    return math.exp(x1 + (HALF - y1) * (x2 - x1) / (y2 - y1))
