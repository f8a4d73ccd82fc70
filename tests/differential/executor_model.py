"""The oracle of programs with an executor: their outcomes, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from differential.executor_plan import (
    Cancel,
    Change,
    ExecutorPlan,
    Map,
    OnDone,
    Step,
    Submit,
)
from differential.functions import in_oracle, prepared
from differential.outcome import CANCELLED, FAILED, SUCCESS, Expected, call_remotely
from differential.recipes import Builder

DEPENDENCY = "bsbpool.exceptions.JobCancelledError"
BROKEN = ("bsbpool.futures.errors.InitializerError", "bsbpool.futures.errors.BrokenPoolError")


@dataclass
class ModelMap:
    """The outcomes of the items of a map, in order, up to and including the first error."""

    step: Map
    items: list[Expected] = field(default_factory=list)
    loose: bool = False


class ExecutorModel:
    """Runs a program without the library.

    Attributes
    ----------
    calls : dict of int to Expected
        The expected outcomes of the submitted calls.
    maps : dict of int to ModelMap
        The expected outcomes of the maps.
    n_callbacks : int
        The number of callbacks that are called.
    logged : set of int
        The logged calls.
    """

    def __init__(self, plan: ExecutorPlan) -> None:
        self.plan = plan
        self.calls: dict[int, Expected] = {}
        self.maps: dict[int, ModelMap] = {}
        self.logged: set[int] = set()
        self._deps: dict[int, list[Expected]] = {}
        self._changes: list[tuple[int, int]] = []
        given = plan.initializer if plan.initializer >= 0 else None
        tokens = in_oracle.set(True), prepared.set(given)
        try:
            for steps in plan.sessions():
                self._session(steps)
            self._loosen_dependents()
        finally:
            in_oracle.reset(tokens[0])
            prepared.reset(tokens[1])

    def _session(self, steps: Sequence[Step]) -> None:
        known: list[int] = []
        for step in steps:
            if isinstance(step, Change):
                self._changes.append((step.cell, step.n))
            elif isinstance(step, Submit):
                known.append(step.key)
                self._submit(step)
            elif isinstance(step, Map):
                self._map(step)
            elif isinstance(step, Cancel):
                self._loosen(step.key, {CANCELLED})
            elif isinstance(step, OnDone) and step.key in self.calls:
                for inner in step.steps:
                    known.append(inner.key)
                    self._submit(inner)
        if self.plan.end == "cancel":
            for key in known:
                self._loosen(key, {CANCELLED})

    def _submit(self, step: Submit) -> None:
        if self.plan.initializer == -2:
            outcome = self._outcome(step)
            pickling = () if outcome.called else outcome.kinds()
            errors = (*BROKEN, DEPENDENCY, *pickling)
            self.calls[step.key] = Expected(FAILED, errors=errors, or_else={CANCELLED})
            return
        if step.logged:
            self.logged.add(step.key)
        deps = [self.calls[key] for key in step.deps if key in self.calls]
        outcome = self._outcome(step)
        failed = [dep for dep in deps if dep.status == FAILED]
        if failed:
            causes = {kind for dep in failed for kind in dep.kinds()}
            outcome = Expected(FAILED, errors=(DEPENDENCY,), causes=tuple(sorted(causes)))
        self.calls[step.key] = outcome
        self._deps[step.key] = deps

    def _outcome(self, step: Submit) -> Expected:
        build = Builder(self.plan.cells, self._changes).build
        kwargs = {name: build(value) for name, value in step.kwargs}
        return call_remotely(build(step.f), tuple(map(build, step.args)), kwargs)

    def _loosen_dependents(self) -> None:
        """Allow both outcomes for calls that depend on a call whose outcome depends on timing."""
        for key, outcome in self.calls.items():
            if any(dep.or_else for dep in self._deps.get(key, ())):
                outcome.or_else = {SUCCESS, FAILED, CANCELLED}
                outcome.causes = ()
                if outcome.status == FAILED:
                    outcome.errors = (*outcome.kinds(), DEPENDENCY)

    def _loosen(self, key: int, statuses: set[str]) -> None:
        if key in self.calls:
            self.calls[key].or_else |= statuses

    def _map(self, step: Map) -> None:
        made = ModelMap(step, loose=self.plan.end == "cancel" and step.late)
        for item in step.items:
            f = Builder(self.plan.cells, self._changes).build(step.f)
            build = Builder(self.plan.cells, self._changes).build
            outcome = call_remotely(f, tuple(map(build, step.arguments(item))), {})
            if isinstance(outcome.error, StopIteration):
                # As of every generator that raises it.
                outcome = Expected(FAILED, errors=("builtins.RuntimeError",))
            made.items.append(outcome)
        self.maps[step.key] = made
