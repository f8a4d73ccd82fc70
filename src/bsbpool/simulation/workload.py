"""The jobs of a simulation, as users describe them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from bsbpool.simulation.units import seconds_of

CONSTANT, UNIFORM, LOGNORMAL, EXPONENTIAL, LISTED = range(5)
INDEPENDENT, CHAIN, TREE, RANDOM = range(4)

SIGMA = 0.5
"""The default sigma of lognormal run times."""
MAX_DEGREE = 32
"""The largest average number of dependencies of random graphs."""

_KINDS = {
    "constant": (CONSTANT, 1, 1, "constant:TIME"),
    "uniform": (UNIFORM, 2, 2, "uniform:TIME:TIME"),
    "lognormal": (LOGNORMAL, 1, 2, "lognormal:MEDIAN[:SIGMA]"),
    "exponential": (EXPONENTIAL, 1, 1, "exponential:MEAN"),
}
_GRAPHS = {"independent": INDEPENDENT, "chain": CHAIN, "tree": TREE, "random": RANDOM}


class Durations(NamedTuple):
    """How the run times of jobs are drawn: a kind with two parameters, or a list of seconds."""

    kind: int
    a: float = 0.0
    b: float = 0.0
    listed: array[float] | None = None

    def mean(self) -> float:
        """Return the expected run time in seconds."""
        if self.listed is not None:
            return sum(self.listed) / len(self.listed)
        if self.kind == UNIFORM:
            return (self.a + self.b) / 2
        return self.a * math.exp(self.b**2 / 2) if self.kind == LOGNORMAL else self.a


def durations_of(duration: str | float | Sequence[float]) -> Durations:
    """Return what a duration means.

    Parameters
    ----------
    duration : str, float or sequence of float
        ``constant:``, ``uniform:``, ``lognormal:`` or ``exponential:`` with parameters; the name of
        a file with one number of seconds in each line; or seconds.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(duration, str):
        name, *given = duration.split(":")
        if name not in _KINDS:
            return Durations(LISTED, listed=_read(duration))
        return _drawn(duration, name, given)
    if isinstance(duration, (int, float)):
        return Durations(CONSTANT, _checked(duration))
    listed = array("d", duration)
    if not listed:
        raise ValueError("duration: the list is empty; give at least one number of seconds")
    for seconds in listed:
        _checked(seconds)
    return Durations(LISTED, listed=listed)


def _drawn(duration: str, name: str, given: list[str]) -> Durations:
    kind, least, most, form = _KINDS[name]
    if not least <= len(given) <= most:
        raise ValueError(f"duration: {duration!r} has {len(given)} parameters; write {form}")
    a = seconds_of(given[0], "duration")
    b = 0.0
    if kind == UNIFORM:
        b = seconds_of(given[1], "duration")
        if b < a:
            raise ValueError(f"duration: {duration!r} ends before it begins; write {form}")
    if kind == LOGNORMAL:
        try:
            b = float(given[1]) if len(given) > 1 else SIGMA
        except ValueError:
            b = -1.0
        if not 0 <= b <= 10:
            raise ValueError(
                f"duration: the sigma of {duration!r} must be a number from 0 to 10; the default "
                f"is {SIGMA}"
            )
    return Durations(kind, a, b)


def _checked(seconds: float) -> float:
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"duration: a run time must be a number of seconds, got {seconds!r}")
    return float(seconds)


def _read(file: str) -> array[float]:
    try:
        with open(file) as stream:
            listed = array("d", [_checked(float(line)) for line in stream if line.strip()])
    except FileNotFoundError:
        forms = ", ".join(form for *_, form in _KINDS.values())
        raise ValueError(
            f"duration: {file!r} is neither a distribution nor a file; use {forms}, or the name of "
            "a file with a number of seconds in each line"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"duration: the file {file} must have a number of seconds in each line ({error})"
        ) from None
    if not listed:
        raise ValueError(f"duration: the file {file} is empty; write a number into each line")
    return listed


def graph_of(graph: str, workers: int) -> tuple[int, int]:
    """Return the kind of a graph and its parameter.

    Parameters
    ----------
    graph : str
        ``independent``; ``chain[:K]``, K chains side by side, by default one for each worker;
        ``tree[:K]``, each job lets K others run, by default 2; ``random[:K]``, each job waits for K
        earlier ones on average, by default 2.
    workers : int
        The number of workers.

    Raises
    ------
    ValueError
        If it is something else.
    """
    name, colon, given = graph.partition(":")
    kind = _GRAPHS.get(name)
    if kind is None or (colon and (kind == INDEPENDENT or not given.isdecimal())):
        raise ValueError(
            f"graph: {graph!r} is unknown; use independent, chain[:K], tree[:K] or random[:K], "
            "where K is a whole number"
        )
    parameter = int(given) if given else {CHAIN: workers}.get(kind, 2)
    most = MAX_DEGREE if kind == RANDOM else 2**31 - 1
    if not 1 <= parameter <= most:
        raise ValueError(f"graph: the number in {graph!r} must be from 1 to {most}")
    return kind, parameter
