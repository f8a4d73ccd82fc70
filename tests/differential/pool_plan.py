"""Programs with a job pool, as data drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from differential.draw import Draw
from differential.recipes import V

ECHO = V("function")
NOTHING = V()


@dataclass(frozen=True)
class Queue:
    """Queue jobs under `key`; with `many`, `args` are the argument tuples of several jobs."""

    key: int = 0
    f: V = ECHO
    args: tuple[V, ...] = ()
    kwargs: tuple[tuple[str, V], ...] = ()
    deps: tuple[int, ...] = ()
    how: str = "queue"  # or submit, many, put
    logged: bool = False
    item: int = -1  # a cached item; the job then uses it


@dataclass(frozen=True)
class Change:
    cell: int = 0
    n: int = 0


@dataclass(frozen=True)
class Cancel:
    key: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Finish:
    """End a job as the user, with a result or an error."""

    key: int = 0
    value: V = NOTHING
    fails: bool = False


@dataclass(frozen=True)
class Hold:
    """Start a job manually; it runs until a `Finish` step ends it."""

    key: int = 0


@dataclass(frozen=True)
class Execute:
    """Call execute again, which is refused."""


@dataclass(frozen=True)
class OnEnd:
    """Perform steps in a callback of a job."""

    key: int = 0
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """Queue jobs in a thread of the pool."""

    steps: tuple[Queue, ...] = ()
    fails: bool = False


Step = Queue | Change | Cancel | Finish | Hold | Execute | OnEnd | Schedule


@dataclass(frozen=True)
class PoolPlan:
    cells: tuple[V, ...] = ()
    steps: tuple[Step, ...] = ()
    owner: V = NOTHING
    fail_fast: bool = False
    max_memory: int = -1
    return_results: bool = False
    listener: str = ""  # record, handle, paced


def draw_pool_plan(seed: int) -> PoolPlan:
    """Draw the program of a seed."""
    r = Random(seed)
    return _Drawing(r).plan()


class _Drawing:
    def __init__(self, r: Random) -> None:
        self.r = r
        self.draw = Draw(r, r.choice((0.0, 0.0, 0.03)))
        self.fail_fast = r.random() < 0.15
        self.n_jobs = 0

    def plan(self) -> PoolPlan:
        r = self.r
        steps = self.chain() if r.random() < 0.003 else self.steps(r.randrange(1, 16))
        return PoolPlan(
            self.draw.cells,
            tuple(steps),
            owner=r.choice((V(), V("int", 6), V("int", 1), V("str", 2), V("constant", 2))),
            fail_fast=self.fail_fast,
            max_memory=r.choice((-1, -1, -1, 0, 1_000, 10**9)),
            return_results=r.random() < 0.6,
            listener=r.choice(("", "", "", "record", "handle", "paced")),
        )

    def steps(self, n: int) -> Iterable[Step]:
        made: list[Step] = []
        for _ in range(n):
            step = self.step()
            if step is not None:
                made.append(step)
        if self.r.random() < 0.1:
            fails = self.r.random() < 0.3 and not self.fail_fast
            made.append(Schedule(tuple(self.queue() for _ in range(2)), fails))
        return made

    def step(self) -> Step | None:
        r = self.r
        chance = r.random()
        if chance < 0.7 or not self.n_jobs:
            return self.queue()
        key = r.randrange(self.n_jobs)
        if chance < 0.78:
            change = self.draw.change()
            return None if change is None else Change(*change)
        if chance < 0.84:
            return Cancel(key, r.choice(("", "a reason")))
        if chance < 0.89:
            return self.finish(key)
        if chance < 0.91:
            return Hold(key)
        return OnEnd(key, tuple(self.callback_step() for _ in range(r.randrange(3))))

    def callback_step(self) -> Step:
        r = self.r
        key = r.randrange(self.n_jobs)
        chance = r.random()
        if self.fail_fast or chance < 0.2:
            return Cancel(key)
        if chance < 0.6:
            return self.finish(key)
        if chance < 0.7:
            return Execute()
        # Without cells: the order in which callbacks of different jobs queue is not specified.
        cells, self.draw.cells = self.draw.cells, ()
        try:
            return self.queue()
        finally:
            self.draw.cells = cells

    def finish(self, key: int) -> Finish:
        fails = self.r.random() < 0.3
        return Finish(key, self.draw.error() if fails else self.draw.value(), fails)

    def queue(self) -> Queue:
        r = self.r
        key = self.n_jobs
        deps = tuple(r.sample(range(key), min(key, r.choice((0, 0, 0, 1, 1, 2, 5)))))
        self.n_jobs += 1
        if r.random() < 0.08:
            return Queue(key, deps=deps, item=r.randrange(4))
        f, args, kwargs = self.draw.call()
        how = r.choice(("queue", "queue", "submit", "many", "put"))
        if self.draw.kept and r.random() < 0.2:  # one object for several jobs
            f, how, kwargs = V("cell", r.choice(self.draw.kept)), "many", ()
        if how == "many":
            args = tuple(V("tuple", 0, self.draw.values(2)) for _ in range(r.randrange(4)))
        if how == "submit":
            kwargs = tuple((name, value) for name, value in kwargs if name != "deps")
        return Queue(key, f, args, kwargs, deps, how, r.random() < 0.4)

    def chain(self) -> Iterable[Step]:
        """Return jobs that each end the next one from a callback."""
        n = 1_200
        made: list[Step] = [Queue(key) for key in range(n)]
        for key in range(n - 1):
            step = Cancel(key + 1) if self.r.random() < 0.9 else Finish(key + 1, V("int", key))
            made.append(OnEnd(key, (step,)))
        self.n_jobs = n
        return [*made, Cancel(0)] if self.r.random() < 0.5 else made
