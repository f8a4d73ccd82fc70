"""Takes the figures: programs take turns, so that noise falls on all alike."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from benches import environment
from benches.targets.kinds import Case, Target

SECONDS = 900
"""How long one program may take."""

Round = dict[Case, dict[str, Any]]


class Figure(NamedTuple):
    """A figure of a target, as measured."""

    value: float | None
    """The median over the rounds; None when a program was left out or failed."""
    least: float | None = None
    most: float | None = None


class Runner:
    """Runs cases, each at most once a round; leaves out what cannot be run."""

    def __init__(self, openmpi: str | None = None, seconds: float = SECONDS) -> None:
        self._openmpi, self._seconds = openmpi, seconds
        self.left_out: dict[Case, str] = {}
        self.failed: dict[Case, str] = {}

    def rounds(self, cases: Iterable[Case], runs: int) -> list[Round]:
        """Return what the cases printed in each round."""
        cases = [case for case in dict.fromkeys(cases) if self._possible(case)]
        found = []
        for number in range(runs):
            found.append(self._round(cases))
            _tell(f"round {number + 1} of {runs} done")
        return found

    def _round(self, cases: list[Case]) -> Round:
        taken: Round = {}
        for case in cases:
            if case in self.failed:
                continue
            _tell(case.label(), end="\r")
            figures = self._run(case)
            if figures is not None:
                taken[case] = figures
        return taken

    def _possible(self, case: Case) -> bool:
        missing = [module for module in case.needs if not environment.has(module)]
        reason = f"no {missing[0]} here" if missing else ""
        if case.openmpi and not self._openmpi:
            reason = "no Open MPI (--mpi-openmpi PYTHON)"
        if reason:
            self.left_out[case] = reason
            _tell(f"left out: {case.label()}: {reason}")
        return not reason

    def _run(self, case: Case) -> dict[str, Any] | None:
        python = self._openmpi if case.openmpi and self._openmpi else sys.executable
        done = environment.run(
            environment.command(case.args(), case.ranks, python), self._seconds, python
        )
        # Ranks may print what they like; the figures are a line of their own.
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            self.failed[case] = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
            _tell(f"FAILED: {case.label()}\n{self.failed[case]}")
            return None
        return json.loads(lines[-1])


def evaluate(target: Target, rounds: list[Round]) -> dict[str, Figure]:
    """Return the figures of a target: each derived within a round, then the median of all."""
    found = {}
    for check in target.checks:
        values = []
        for taken in rounds:
            known = {name: taken[case] for name, case in target.cases.items() if case in taken}
            try:
                values.append(check.derive(known))
            except KeyError:  # a program was left out
                continue
        found[check.name] = (
            Figure(statistics.median(values), min(values), max(values)) if values else Figure(None)
        )
    return found


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each number that a program printed; of lists, of each member."""
    return {key: _median([figures[key] for figures in rounds]) for key in rounds[0]}


def _median(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return medians(values)
    if isinstance(values[0], list):
        return [_median(list(each)) for each in zip(*values, strict=False)]
    return float(f"{statistics.median(values):.6g}")


def _tell(text: str, end: str = "\n") -> None:
    print(
        f"\x1b[2K{text}" if sys.stderr.isatty() else text,
        end=end if sys.stderr.isatty() else "\n",
        file=sys.stderr,
        flush=True,
    )
