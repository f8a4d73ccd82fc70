"""Tables: the targets with their figures, and the systems with their rates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benches.targets.kinds import Check, Target

UNITS = {
    "x": lambda v: f"{v:,.0f}x" if v >= 100 else f"{v:.2f}x",
    "jobs/s": lambda v: f"{v:,.0f} jobs/s",
    "us": lambda v: f"{v:.2f} us",
    "ms": lambda v: f"{v:.2f} ms",
    "s": lambda v: f"{v:.2f} s",
    "B": lambda v: f"{v:,.0f} B",
    "MiB": lambda v: f"{v:,.0f} MiB",
    "%": lambda v: f"{v:.2f} %",
}
"""Format of the values of each unit."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown with aligned columns."""
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    padded = [map(str.ljust, line, widths) for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def bound(check: Check) -> str:
    """Return the bound of a figure as text."""
    # Bounds are round numbers, so they are written with fewer digits.
    number = UNITS[check.unit](check.bound).replace(f"{check.bound:.2f}", f"{check.bound:g}")
    return f"{'>=' if check.at_least else '<='} {number}"


def targets(known: Mapping[str, Target], figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of targets, with the figures of a line of the history."""
    rows = []
    for target in known.values():
        for check in target.checks:
            figure = figures.get(f"{target.name}.{check.name}")
            if figure is not None:
                rows.append([target.name, check.text, bound(check), *_measured(check, figure)])
    return table(["", "figure", "target", "measured", "from - to", "met"], rows)


def _measured(check: Check, figure: Mapping[str, Any]) -> list[str]:
    value = figure["value"]
    if value is None:
        return ["not measured", "", "?"]
    write = UNITS[check.unit]
    spread = f"{write(figure['least'])} - {write(figure['most'])}"
    return [write(value), spread, "yes" if check.met(value) else "NO"]


def systems(titles: Mapping[str, str], compared: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the rates of each system for each shape; its main process's CPU in brackets."""
    shapes = list(next(iter(compared.values()), {}))
    rows = [
        [titles[name], _tasks(taken), *(_rate(taken[shape]) for shape in shapes)]
        for name, taken in compared.items()
    ]
    return table(["jobs/s (us of main CPU a job)", "jobs", *shapes], rows)


def _tasks(taken: Mapping[str, Mapping[str, float]]) -> str:
    return f"{max(figures['jobs'] for figures in taken.values()):,.0f}"


def _rate(figures: Mapping[str, float]) -> str:
    jobs = figures["jobs"]
    return f"{jobs / figures['seconds']:,.0f} ({1e6 * figures['cpu'] / jobs:,.1f})"


def machine(line: Mapping[str, Any]) -> str:
    """Return where and when a line of the history was measured."""
    about = line["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"Commit {line['commit']}, {line['date']}, {line['runs']} rounds; {about['cpu']}, "
        f"{about['cores']} cores, load {about['load']} at the start; Python {about['python']}, "
        f"{packages}."
    )


def main_line(output: str) -> str:
    """Return the most informative line of the output of a failed program."""
    lines = [line.strip(" |+-") for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return [*lines, *errors][-1] if lines else "it printed nothing"
