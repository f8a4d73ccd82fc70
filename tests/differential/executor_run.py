"""Runs a program with an executor of the library and compares it with the oracle."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from bsbpool.futures import BrokenExecutor, PoolExecutor
from differential import functions
from differential.describe import describe
from differential.executor_plan import (
    Cancel,
    Change,
    ExecutorPlan,
    Map,
    OnDone,
    Step,
    Submit,
    Wait,
)
from differential.outcome import FAILED, Seen, is_from_the_keyboard, kind_of, notes_of
from differential.pool_run import RankRecords
from differential.recipes import Builder

SECONDS = 60.0
"""A time limit for calls that is never reached."""


class LeavesByError(Exception):
    """Raised to leave the block of an executor."""


class ExecutorRun:
    """A program, on one rank."""

    def __init__(self, plan: ExecutorPlan) -> None:
        self.plan = plan
        self.here = RankRecords()
        self.futures: dict[int, Any] = {}
        self.refused: dict[int, BaseException] = {}  # errors of `submit` and `map`
        self.taken: dict[int, list[Seen]] = {}
        self.mistakes: list[str] = []
        self._late: list[tuple[Map, Any]] = []
        self._builder = Builder(plan.cells)
        self._called: list[threading.Event] = []
        self._n_called = 0

    def run(self) -> None:
        """Run the program; collective."""
        functions.ran.clear()
        functions.given[0] = None
        plan = self.plan
        options: dict[str, Any] = {}
        if plan.initializer != -1:
            fails = plan.initializer == -2
            options["initializer"] = functions.fail_to_prepare if fails else functions.prepare
            options["initargs"] = () if fails else (plan.initializer,)
        if plan.max_workers:
            options["max_workers"] = plan.max_workers
        executor = PoolExecutor(**options)
        for steps in plan.sessions():
            try:
                with executor as entered:
                    if entered is not None:
                        self._session(entered, steps)
            except LeavesByError:
                pass
            except BaseException as error:
                if is_from_the_keyboard(error):
                    raise
                self.mistakes.append(f"the executor raises {error!r}")
                self.here.end = kind_of(error)
            self._see()
        self.here.ran = list(functions.ran)

    def _session(self, executor: Any, steps: list[Step]) -> None:
        self.executor = executor
        for step in steps:
            try:
                self._make(step)
            except BaseException as error:
                if is_from_the_keyboard(error):
                    raise
                self.mistakes.append(f"{step} raises {kind_of(error)}")
        end = self.plan.end
        if end != "cancel":
            self._settle()  # callbacks submit, which they could not do after the end
        if end in ("shutdown", "nowait", "cancel"):
            executor.shutdown(end != "nowait", cancel_futures=end == "cancel")
            try:
                executor.submit(abs, 1)
                self.mistakes.append("a call was taken after shutdown")
            except RuntimeError:
                pass
        if end == "cancel":
            self._settle()
        if end == "error":
            raise LeavesByError

    # ------------------------------------------------------------ steps

    def _make(self, step: Step) -> None:
        if isinstance(step, Submit):
            self._submit(step)
        elif isinstance(step, Map):
            self._map(step)
        elif isinstance(step, Change):
            self._settle()
            self._builder.change(step.cell, step.n)
        elif step.key not in self.futures:  # type: ignore[union-attr]
            return
        elif isinstance(step, Cancel):
            future = self.futures[step.key]
            if future.cancel() and not future.cancelled():
                self.mistakes.append(f"call {step.key} is not cancelled, though it says so")
        elif isinstance(step, Wait):
            self._wait(self.futures[step.key])
        elif isinstance(step, OnDone):
            self._on_done(step)

    def _submit(self, step: Submit) -> None:
        build = self._builder.build
        f, args = build(step.f), tuple(map(build, step.args))
        kwargs = {name: build(value) for name, value in step.kwargs}
        if step.logged:
            f, args = functions.logged_call, (step.key, f, *args)
        options: dict[str, Any] = {}
        if deps := [self.futures[key] for key in step.deps if key in self.futures]:
            options["deps"] = deps
        if step.named:
            options["name"] = f"call {step.key}"
        try:
            to = self.executor.options(**options) if options else self.executor
            self.futures[step.key] = to.submit(f, *args, **kwargs)
        except (RuntimeError, BrokenExecutor) as error:
            self.refused[step.key] = error

    def _map(self, step: Map) -> None:
        items = [tuple(map(self._builder.build, step.arguments(item))) for item in step.items]
        said: dict[str, Any] = {"timeout": SECONDS, "unordered": step.unordered}
        if step.chunksize:
            said["chunksize"] = step.chunksize
        if step.buffersize:
            said["buffersize"] = step.buffersize
        f = self._builder.build(step.f)
        try:
            if step.how == "map":
                results = self.executor.map(f, _iterable([x for (x,) in items], step.fails), **said)
            elif step.how == "zip":
                one = _iterable([item[0] for item in items], step.fails)
                results = self.executor.map(f, one, [item[1] for item in items] + [None], **said)
            else:
                results = self.executor.starmap(f, _iterable(items, step.fails), **said)
        except (RuntimeError, BrokenExecutor, ItemsEnd) as error:
            self.refused[step.key] = error
            return
        self._late.append((step, results))
        if not step.late:
            self._take_all()

    def _on_done(self, step: OnDone) -> None:
        event = threading.Event()
        self._called.append(event)

        def callback(future: Any) -> None:
            self._n_called += 1
            try:
                for inner in step.steps:
                    self._submit(inner)
            finally:
                event.set()

        self.futures[step.key].add_done_callback(callback)

    # ------------------------------------------------------------ results

    def _settle(self) -> None:
        """Wait for all submitted calls, also those of callbacks, and read the results of maps."""
        self._take_all()
        known = -1
        while known != len(self.futures):
            known = len(self.futures)
            for future in list(self.futures.values()):
                self._wait(future)
            for event in self._called:
                if not event.wait(SECONDS):
                    self.mistakes.append("a callback was not called")

    def _wait(self, future: Any) -> None:
        if not future.cancelled():
            try:
                future.exception(SECONDS)
            except TimeoutError:
                self.mistakes.append(f"{future} has not ended")
            except BaseException as error:
                if not future.cancelled():
                    self.mistakes.append(f"waiting for {future} raises {error!r}")

    def _take_all(self) -> None:
        while self._late:
            step, results = self._late.pop(0)
            seen = self.taken.setdefault(step.key, [])
            try:
                while step.take < 0 or len(seen) < step.take:
                    seen.append(Seen("SUCCESS", describe(next(results))))
            except BaseException as error:
                if is_from_the_keyboard(error):
                    raise
                if type(error) is not StopIteration:
                    cause = kind_of(error.__cause__)
                    seen.append(Seen(FAILED, describe(error), notes_of(error), cause))
            results.close()

    def _see(self) -> None:
        """Record the outcomes of the calls after the end of a session."""
        self._take_all()
        self.seen = {}
        for key, future in self.futures.items():
            if not future.done():
                self.mistakes.append(f"call {key} has not ended")
            elif future.cancelled():
                self.seen[key] = Seen("CANCELLED")
            elif error := future.exception():
                cause = kind_of(error.__cause__)
                self.seen[key] = Seen(FAILED, describe(error), notes_of(error), cause)
            else:
                self.seen[key] = Seen("SUCCESS", describe(future.result()))


class ItemsEnd(Exception):
    """Raised by an iterable."""


def _iterable(items: list[Any], fails: bool) -> Iterable[Any]:
    def generate() -> Iterator[Any]:
        yield from items
        raise ItemsEnd("after the items")

    return generate() if fails else items
