"""Run the programs and collect their figures.

Each round runs every program once, so that noise affects all of them alike.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benches import environment
from benches.targets.kinds import Case, Target

SECONDS = 900
"""The time limit of one program."""

Round = dict[Case, dict[str, Any]]


class Figure(NamedTuple):
    """The measured value of a check."""

    value: float | None
    """The median over the rounds; None if a program was left out or failed."""
    least: float | None = None
    most: float | None = None


class Runner:
    """Runs cases, each at most once per round, and leaves out those that cannot run here.

    Parameters
    ----------
    pythons : mapping of str to str, optional
        The Python interpreters of further environments, by the name that a case gives.
    seconds : float
        The time limit of one program.
    """

    def __init__(
        self, pythons: Mapping[str, str | None] | None = None, seconds: float = SECONDS
    ) -> None:
        self._pythons, self._seconds = {"": sys.executable, **(pythons or {})}, seconds
        self.left_out: dict[Case, str] = {}
        self.failed: dict[Case, str] = {}

    def rounds(self, cases: Iterable[Case], runs: int) -> list[Round]:
        """Return the figures of the cases in each round."""
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
        reason = f"{missing[0]} is not installed" if missing else ""
        if not self._pythons.get(case.env):
            reason = f"needs --{case.env} PYTHON"
        if reason:
            self.left_out[case] = reason
            _tell(f"left out: {case.label()}: {reason}")
        return not reason

    def _run(self, case: Case) -> dict[str, Any] | None:
        python = self._pythons[case.env]
        assert python is not None, "checked by _possible"
        done = environment.run(
            environment.command(case.args(), case.ranks, python), self._seconds, python
        )
        # The ranks may print more; the figures are a line of JSON.
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            self.failed[case] = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
            _tell(f"FAILED: {case.label()}\n{self.failed[case]}")
            return None
        return json.loads(lines[-1])


def evaluate(target: Target, rounds: list[Round]) -> dict[str, Figure]:
    """Return the figures of a target: computed for each round, then the median of the rounds."""
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
    """Return the median of each number that a program printed, elementwise for lists."""
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
