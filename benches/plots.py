"""Pictures for the documentation: a comparison of the systems, and the history of the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# No dates and no random names, so that equal figures give equal files.
matplotlib.rcParams["svg.hashsalt"] = "bsbpool"
matplotlib.rcParams["svg.fonttype"] = "none"  # text instead of outlines, for small files

import matplotlib.pyplot as plt  # noqa: E402 - after the choice above

from benches import compare, environment, history  # noqa: E402
from benches.targets import Target, all_targets  # noqa: E402

PLAIN = "{x:g}"
"""Format of the numbers on a logarithmic axis."""
FOLDER = environment.ROOT / "docs" / "pictures"


def draw(folder: Path = FOLDER) -> list[Path]:
    """Draw the pictures for which there are figures; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    runs, counts = history.read("run"), history.read("check")
    drawn = []
    compared = [line for line in runs if line.get("compared")]
    if compared:
        drawn.append(_save(comparison(compared[-1]["compared"]), folder / "comparison.svg"))
    if runs:
        drawn.append(_save(targets(runs), folder / "targets.svg"))
    if counts:
        drawn.append(_save(instructions(counts), folder / "instructions.svg"))
    return drawn


def comparison(compared: dict[str, Any]) -> plt.Figure:
    """Draw the rate of each system, for each shape."""
    shapes = list(next(iter(compared.values())))
    figure, axes = plt.subplots(figsize=(9, 4.5))
    width = 0.8 / len(compared)
    for number, (name, taken) in enumerate(compared.items()):
        rates = [taken[shape]["jobs"] / taken[shape]["seconds"] for shape in shapes]
        places = [place + (number + 0.5) * width - 0.4 for place in range(len(shapes))]
        axes.bar(places, rates, width, label=compare.TITLES[name])
    axes.set(yscale="log", ylabel="no-op jobs a second", title="One worker, by shape of the graph")
    axes.set_xticks(range(len(shapes)), shapes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, fontsize=8, frameon=False)
    return figure


def targets(runs: list[dict[str, Any]]) -> plt.Figure:
    """Draw each figure divided by its target, for all runs. Values above 1 meet the target."""
    known = all_targets()
    rows = -(-len(known) // 4)
    figure, grid = plt.subplots(rows, 4, figsize=(12, 2.6 * rows), sharex=True, squeeze=False)
    for axes in grid.flat[len(known) :]:
        axes.axis("off")
    for axes, target in zip(grid.flat, known.values(), strict=False):
        _target(axes, target, runs)
    figure.supylabel("measured over target, above 1 it is met")
    return figure


def _target(axes: plt.Axes, target: Target, runs: list[dict[str, Any]]) -> None:
    for check in target.checks:
        values = [
            run["figures"].get(f"{target.name}.{check.name}", {}).get("value") for run in runs
        ]
        goodness = [
            None if not value else value / check.bound if check.at_least else check.bound / value
            for value in values
        ]
        shown = [float("nan") if each is None else each for each in goodness]
        axes.plot(range(len(runs)), shown, marker="o", markersize=3, label=check.name)
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set(yscale="log", title=target.name)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter("")
    axes.set_xticks(range(len(runs)), [run["commit"][:7] for run in runs], rotation=90, fontsize=6)
    axes.legend(fontsize=6)


def instructions(counts: list[dict[str, Any]]) -> plt.Figure:
    """Draw the instructions per job of all baselines."""
    figure, axes = plt.subplots(figsize=(7, 3.5))
    for name in counts[-1]["instructions"]:
        values = [line["instructions"].get(name, float("nan")) for line in counts]
        axes.plot(range(len(counts)), values, marker="o", label=name)
    axes.set(ylabel="instructions a job", yscale="log")
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_formatter(PLAIN)
    axes.set_xticks(range(len(counts)), [line["commit"][:7] for line in counts], rotation=90)
    axes.legend()
    return figure


def _save(figure: plt.Figure, file: Path) -> Path:
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return file
