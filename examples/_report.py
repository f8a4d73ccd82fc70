"""The output of the network example: progress while it builds, then a table and a picture."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bsb import Scaffold

FINISHED = {"SUCCESS", "FAILED", "CANCELLED", "ABORTED"}
NIGHT, CHALK = "#0d1117", "#c9d1d9"


class Progress:
    """Live progress of a build: a bar per strategy, or a line per second.

    Enter it around the build and register `listen` with the network. The bars need rich, and a
    terminal on stderr.

    Attributes
    ----------
    jobs, done : collections.Counter
        The numbers of jobs that each strategy has queued, and of those that have ended.
    seconds : float
        Time from the first event of the job pools to the latest.
    """

    def __init__(self) -> None:
        self.jobs: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.seconds = 0.0
        self._began = 0.0
        self._printed = 0.0
        self._ended: set[Any] = set()
        self._bars = _rich_bars() if sys.stderr.isatty() else None
        self._rows: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars:
            self._bars.stop()

    def listen(self, event: Any) -> None:
        """Record an event of a job pool and update the display."""
        self._began = self._began or perf_counter()
        self.seconds = perf_counter() - self._began
        reason = event.reason.name
        if reason == "JOB_ADDED":
            self.jobs[event.job.name] += 1
        elif reason == "JOB_STATUS_CHANGE" and event.status.name in FINISHED:
            if event.job in self._ended:  # bsb's own pool reports some jobs twice
                return
            self._ended.add(event.job)
            self.done[event.job.name] += 1
        else:
            return
        strategy = event.job.name
        show = self._draw if self._bars else self._print
        show(strategy.removeprefix("{root}."), self.done[strategy], self.jobs[strategy])

    def _draw(self, strategy: str, done: int, jobs: int) -> None:
        everything = f"{self.done.total() / max(self.seconds, 1):.0f} jobs/s"
        for row, text, ended, known in (
            ("", everything, self.done.total(), self.jobs.total()),
            (strategy, strategy, done, jobs),
        ):
            if row not in self._rows:
                self._rows[row] = self._bars.add_task(text)
            self._bars.update(self._rows[row], description=text, completed=ended, total=known)

    def _print(self, strategy: str, done: int, jobs: int) -> None:
        if self.seconds - self._printed < 1.0:
            return
        self._printed = self.seconds
        total, known = self.done.total(), self.jobs.total()
        rate = total / self.seconds
        line = f"{self.seconds:6.1f} s {total:6,} of {known:5,} jobs {rate:6.0f}/s"
        print(f"{line}   {strategy} {done}/{jobs}", file=sys.stderr, flush=True)


def _rich_bars() -> Any:
    """Make the progress bars of rich, or return None where it is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
    except ImportError:
        return None
    columns = "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True))


def table(scaffold: Scaffold, run: Mapping[str, float]) -> str:
    """Format the numbers of cells and connections, and the figures of the run, as a table."""
    with scaffold.storage.read_scope():
        cells = {cells.tag: len(cells) for cells in scaffold.get_placement_sets()}
        links = {links.tag: len(links) for links in scaffold.get_connectivity_sets()}
    columns = [
        [f"{title:30}", *(f"{name:22}{count:8,}" for name, count in counts.items())]
        for title, counts in (
            ("cells", cells | {"total": sum(cells.values())}),
            ("connections", links | {"total": sum(links.values())}),
            ("run", run),
        )
    ]
    rows = zip_longest(*columns, fillvalue=" " * 30)
    return "\n".join("    ".join(row).rstrip() for row in rows)


def draw(scaffold: Scaffold, path: Path) -> None:
    """Draw the cells, the trees of those that have one, and a sample of the connections."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    figure = plt.figure(figsize=(11, 11), facecolor=NIGHT)
    axes = figure.add_axes((0, 0, 1, 1), projection="3d", computed_zorder=False, facecolor=NIGHT)

    def lines(paths: Any, colour: str, width: Any, alpha: float) -> None:
        axes.add_collection(Line3DCollection(paths, colors=colour, linewidths=width, alpha=alpha))

    places, colours = {}, {}
    with scaffold.storage.read_scope():
        for cells in scaffold.get_placement_sets():
            spots, colour = cells.load_positions(), cells.cell_type.plotting.color
            places[cells.tag], colours[cells.tag] = spots, colour
            size = 0.8 * cells.cell_type.spatial.radius**2
            label = f"{len(spots):,} {cells.tag}"
            axes.scatter(*spots.T, s=size, color=colour, linewidths=0, label=label)
            if scaffold.morphologies.has(cells.tag):
                tree = scaffold.morphologies.load(cells.tag).branches
                widths = [0.6 * branch.radii[0] for branch in tree] * len(spots)
                lines([b.points + spot for spot in spots for b in tree], colour, widths, 0.6)
        for links in scaffold.get_connectivity_sets():
            pre, post = (locs[:, 0] for locs in links.load_connections().as_globals().all())
            pairs = np.unique(np.column_stack((pre, post)), axis=0)
            pre, post = pairs[:: len(pairs) // 150 + 1].T
            ends = places[links.pre_type.name][pre], places[links.post_type.name][post]
            lines(np.stack(ends, axis=1), colours[links.pre_type.name], 0.6, 0.5)

    low, high = (edge(np.concatenate([*places.values()]), axis=0) for edge in (np.min, np.max))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_box_aspect(high - low, zoom=1.12)
    axes.view_init(elev=8, azim=-24)
    axes.set_axis_off()
    axes.plot([high[0] - 100, high[0]], [low[1]] * 2, [low[2] - 15] * 2, color=CHALK, linewidth=2)
    axes.text(high[0] - 50, low[1], low[2] - 30, "100 µm", color=CHALK, ha="center", fontsize=10)
    legend = axes.legend(loc="upper left", frameon=False, labelcolor=CHALK, fontsize=11)
    for handle in legend.legend_handles:
        handle.set_sizes([50])
    figure.savefig(path, dpi=120)
    plt.close(figure)
