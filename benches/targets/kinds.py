"""What a target is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Figures = Mapping[str, Any]
"""What a program printed."""
Taken = Mapping[str, Figures]
"""What the programs of a target printed in one round, by the target's names for them."""


class Case(NamedTuple):
    """A program, and how it is started."""

    program: str
    ranks: int = 1
    options: tuple[tuple[str, Any], ...] = ()
    needs: tuple[str, ...] = ()
    """Modules without which it is left out."""
    openmpi: bool = False
    """Whether it runs on Open MPI, which takes another environment."""

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
        """Return what distinguishes it, for people and for the history."""
        program, *options = self.args()
        where = f"@{self.ranks}" + (" openmpi" if self.openmpi else "")
        return " ".join([program.rpartition(".")[2], *options, where])


def case(
    program: str, ranks: int = 1, *, needs: str = "", openmpi: bool = False, **options: Any
) -> Case:
    """Return a case, which is the same for the same arguments."""
    modules = (*needs.split(), *(("mpi4py",) if ranks > 1 and not openmpi else ()))
    return Case(program, ranks, tuple(options.items()), modules, openmpi)


class Check(NamedTuple):
    """One figure of a target, and what it should be."""

    name: str
    text: str
    unit: str
    bound: float
    at_least: bool
    derive: Callable[[Taken], float]
    """From what the programs of one round printed; a KeyError when one was left out."""

    def met(self, value: float) -> bool:
        """Whether a value is as it should be."""
        return value >= self.bound if self.at_least else value <= self.bound


def at_least(name: str, text: str, bound: float, derive: Callable, unit: str = "x") -> Check:
    """Return a check for something to be large."""
    return Check(name, text, unit, bound, True, derive)


def at_most(name: str, text: str, bound: float, derive: Callable, unit: str = "x") -> Check:
    """Return a check for something to be small."""
    return Check(name, text, unit, bound, False, derive)


class Target(NamedTuple):
    """What bsbpool should reach, by its issue."""

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
