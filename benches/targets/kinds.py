"""The parts of a target: cases, checks and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Figures = Mapping[str, Any]
"""The figures that a program printed."""
Taken = Mapping[str, Figures]
"""The figures of one round, by the names that the target gives its cases."""


class Case(NamedTuple):
    """A program, and how to start it."""

    program: str
    ranks: int = 1
    options: tuple[tuple[str, Any], ...] = ()
    needs: tuple[str, ...] = ()
    """Modules without which it is left out."""
    env: str = ""
    """The environment, if not the one that runs the suite: `openmpi` or `testing`."""

    def args(self) -> list[str]:
        """Return the module and its options, for a command line."""
        args = [f"benches.programs.{self.program}"]
        for name, value in self.options:
            if value is True:
                args.append(f"--{name}")
            elif value is not False:
                args += [f"--{name}", str(value)]
        return args

    def label(self) -> str:
        """Return a text that identifies the case, for people and for the history."""
        program, *options = self.args()
        where = f"@{self.ranks}" + (" openmpi" if self.env == "openmpi" else "")
        return " ".join([program.rpartition(".")[2], *options, where])


def case(
    program: str, ranks: int = 1, *, needs: str = "", env: str = "", **options: Any
) -> Case:
    """Return a case. Equal arguments give equal cases."""
    modules = (*needs.split(), *(("mpi4py",) if ranks > 1 and not env else ()))
    return Case(program, ranks, tuple(options.items()), modules, env)


class Check(NamedTuple):
    """A figure of a target, and its bound."""

    name: str
    text: str
    unit: str
    bound: float
    at_least: bool
    derive: Callable[[Taken], float]
    """Computes the figure from one round; raises KeyError if a case was left out."""

    def met(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(name: str, text: str, bound: float, derive: Callable, unit: str = "x") -> Check:
    """Return a check that a figure is `bound` or more."""
    return Check(name, text, unit, bound, True, derive)


def at_most(name: str, text: str, bound: float, derive: Callable, unit: str = "x") -> Check:
    """Return a check that a figure is `bound` or less."""
    return Check(name, text, unit, bound, False, derive)


class Target(NamedTuple):
    """A performance goal of bsbpool."""

    name: str
    text: str
    cases: Mapping[str, Case]
    checks: tuple[Check, ...]


def rate(figures: Figures) -> float:
    """Return the jobs per second of wall time."""
    return figures["jobs"] / figures["seconds"]


def each(figures: Figures, key: str = "seconds") -> float:
    """Return the microseconds per job."""
    return 1e6 * figures[key] / figures["jobs"]
