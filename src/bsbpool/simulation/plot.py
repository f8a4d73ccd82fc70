"""Draw the predicted efficiency against the number of ranks. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bsbpool.exceptions import DependencyError
from bsbpool.naming import duration_text
from bsbpool.simulation.costs import Calibration
from bsbpool.simulation.model import simulate
from bsbpool.simulation.networks import Network
from bsbpool.simulation.units import seconds_of

RANKS = tuple(2**k for k in range(5, 18, 2))
DURATIONS = ("1ms", "20ms", "100ms", "1s", "10s")
JOBS_PER_WORKER = 40


def efficiencies(
    duration: str,
    ranks: Iterable[int] = RANKS,
    *,
    leaders: str | int | None = None,
    paced_leaders: bool = True,
    network: str | Network = "ndr",
    seed: int = 0,
    calibration: Calibration | None = None,
) -> list[float]:
    """Return the predicted efficiency for numbers of ranks, with jobs of about equal length.

    Run times are between 0.8 and 1.2 times the duration, and each worker gets 40 jobs on average.
    The efficiency is that of the time in which jobs are ready, so that the end of the run, when
    workers become idle one after the other, does not count.

    Parameters
    ----------
    duration : str
        The mean run time.
    ranks : iterable of int, optional
        The numbers of ranks.
    leaders, paced_leaders, network, seed
        As of `simulate`.
    calibration : Calibration, optional
        The CPU times of bsbpool.
    """
    mean = seconds_of(duration, "duration")
    used = calibration or Calibration()
    found = []
    for n in ranks:
        result = simulate(
            n,
            JOBS_PER_WORKER * n,
            f"uniform:{0.8 * mean:.12f}s:{1.2 * mean:.12f}s",
            leaders=leaders,
            paced_leaders=paced_leaders,
            network=network,
            seed=seed,
            costs=used.costs,
            local=used.local,
        )
        found.append(result.full_efficiency)
    return found


def draw_efficiency(
    file: str,
    ranks: Iterable[int] = RANKS,
    durations: Iterable[str] = DURATIONS,
    *,
    leaders: str | int | None = None,
    paced_leaders: bool = True,
    network: str | Network = "ndr",
    seed: int = 0,
    calibration: Calibration | None = None,
) -> None:
    """Draw the efficiency against the number of ranks, with a line for each duration.

    Parameters
    ----------
    file : str
        The picture; its suffix gives the format.
    ranks, durations, leaders, paced_leaders, network, seed, calibration
        As of `efficiencies`.

    Raises
    ------
    DependencyError
        Without matplotlib.
    """
    pyplot = _pyplot()
    ranks = tuple(ranks)
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for duration in durations:
        found = efficiencies(
            duration,
            ranks,
            leaders=leaders,
            paced_leaders=paced_leaders,
            network=network,
            seed=seed,
            calibration=calibration,
        )
        text = duration_text(seconds_of(duration, "duration"))
        axes.plot(ranks, [100 * each for each in found], marker="o", markersize=3, label=text)
    named = network if isinstance(network, str) else "given network"
    axes.set(
        xscale="log",
        xlabel="ranks",
        ylabel="efficiency of the workers in %",
        ylim=(0, 102),
        title=f"leaders: {leaders or 'none'}{', paced' if paced_leaders else ''}; network: {named}",
    )
    axes.grid(alpha=0.3)
    axes.legend(title="run time", fontsize=8)
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None} if _is_svg(file) else None)
    pyplot.close(figure)


def _is_svg(file: str) -> bool:
    return file.endswith(".svg")


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise DependencyError(
            "plots need matplotlib, which is not installed: pip install 'bsbpool[plots]'"
        ) from None
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "bsbpool"  # equal figures give equal files
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    return pyplot
