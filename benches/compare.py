"""Run the same workloads on all systems."""

from __future__ import annotations

from typing import Any

from benches.measuring import Round, medians
from benches.programs.systems import SYSTEMS
from benches.targets.kinds import Case, case
from benches.workloads import SHAPES

TITLES = {name: system.title for name, system in SYSTEMS.items()}


def cases(
    shapes: list[str] | None = None,
    width: int = 32,
    steps: int | None = None,
    kernel: float = 0.0,
    bytes: int = 16,
) -> dict[str, Case]:
    """Return for each system the case that runs the workloads: one worker each.

    By default each system runs about a second, so slow ones get fewer steps.
    """
    return {
        name: case(
            "shapes",
            2 if system.ranks else 1,
            needs=" ".join(system.needs),
            system=name,
            shapes=",".join(shapes or SHAPES),
            width=width,
            steps=steps or system.steps,
            kernel=kernel,
            bytes=bytes,
        )
        for name, system in SYSTEMS.items()
    }


def summary(known: dict[str, Case], rounds: list[Round]) -> dict[str, Any]:
    """Return the medians for each system that was measured, and shape."""
    taken = {
        name: [by_case[case] for by_case in rounds if case in by_case]
        for name, case in known.items()
    }
    return {name: medians(figures) for name, figures in taken.items() if figures}
