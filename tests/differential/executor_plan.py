"""Programs with an executor, as data drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from differential.draw import Draw
from differential.recipes import V

ECHO = V("function")


@dataclass(frozen=True)
class Submit:
    key: int = 0
    f: V = ECHO
    args: tuple[V, ...] = ()
    kwargs: tuple[tuple[str, V], ...] = ()
    deps: tuple[int, ...] = ()
    logged: bool = False
    named: bool = False


@dataclass(frozen=True)
class Map:
    """Call a function with items, and take results: all, or `take` of them."""

    key: int = 0
    f: V = ECHO
    items: tuple[V, ...] = ()
    how: str = "map"  # or zip, starmap: then items are tuples of arguments
    chunksize: int = 0
    buffersize: int = 0
    unordered: bool = False
    take: int = -1
    fails: bool = False  # the iterable raises, after the items
    late: bool = False  # results are taken at the end

    def arguments(self, item: V) -> tuple[V, ...]:
        """Return the arguments of the call for an item."""
        if self.how == "map":
            return (item,)
        return item.parts if self.how == "starmap" else (*item.parts, V(), V())[:2]


@dataclass(frozen=True)
class Change:
    """Change a cell after all calls have ended."""

    cell: int = 0
    n: int = 0


@dataclass(frozen=True)
class Cancel:
    key: int = 0


@dataclass(frozen=True)
class Wait:
    key: int = 0


@dataclass(frozen=True)
class OnDone:
    """Submit calls in a callback of a future."""

    key: int = 0
    steps: tuple[Submit, ...] = ()


@dataclass(frozen=True)
class Again:
    """Leave the executor and enter it again."""


Step = Submit | Map | Change | Cancel | Wait | OnDone | Again


@dataclass(frozen=True)
class ExecutorPlan:
    cells: tuple[V, ...] = ()
    steps: tuple[Step, ...] = ()
    initializer: int = -1  # -1: none, -2: one that fails, else its argument
    max_workers: int = 0
    end: str = ""  # shutdown, nowait, cancel, error

    def sessions(self) -> list[list[Step]]:
        """Return the steps of each time that the executor is entered."""
        sessions: list[list[Step]] = [[]]
        for step in self.steps:
            if isinstance(step, Again):
                sessions.append([])
            else:
                sessions[-1].append(step)
        return sessions


def draw_executor_plan(seed: int) -> ExecutorPlan:
    """Draw the program of a seed."""
    return _Drawing(Random(seed + 10**9)).plan()


class _Drawing:
    def __init__(self, r: Random) -> None:
        self.r = r
        self.draw = Draw(r, r.choice((0.0, 0.0, 0.03)))
        self.n_calls = 0
        self.futures: list[int] = []  # of this session

    def plan(self) -> ExecutorPlan:
        r = self.r
        steps: list[Step] = []
        for _ in range(r.randrange(1, 14)):
            steps += self.steps()
        return ExecutorPlan(
            self.draw.cells,
            tuple(steps),
            initializer=r.choice((-1, -1, -1, 5, 6, -2 if r.random() < 0.2 else -1)),
            max_workers=r.choice((0, 0, 0, 1)),
            end=r.choice(("", "", "shutdown", "nowait", "cancel", "error")),
        )

    def steps(self) -> list[Step]:
        """Return the next steps, usually one."""
        if self.draw.kept and self.r.random() < 0.1:
            return self.repeated()
        step = self.step()
        return [] if step is None else [step]

    def repeated(self) -> list[Step]:
        """Call one object repeatedly and change its state in between."""
        f = V("cell", self.r.choice(self.draw.kept))
        args = self.draw.values(1, 0)
        made: list[Step] = []
        for _ in range(3):
            made.append(Submit(self.n_calls, f, args))
            self.futures.append(self.n_calls)
            self.n_calls += 1
            made += [Change(*change) for change in (self.draw.change(),) if change]
        return made

    def step(self) -> Step | None:
        r = self.r
        chance = r.random()
        if chance < 0.5 or not self.futures:
            return self.submit() if r.random() < 0.75 else self.map()
        key = r.choice(self.futures)
        if chance < 0.7:
            return self.map()
        if chance < 0.78:
            change = self.draw.change()
            return None if change is None else Change(*change)
        if chance < 0.83:
            return Cancel(key)
        if chance < 0.88:
            return Wait(key)
        if chance < 0.97:
            return self.callback(key)
        self.futures = []
        return Again()

    def callback(self, key: int) -> OnDone:
        cells, self.draw.cells = self.draw.cells, ()  # they may have changed by then
        steps = tuple(self.submit(in_callback=True) for _ in range(self.r.randrange(3)))
        self.draw.cells = cells
        return OnDone(key, steps)

    def submit(self, in_callback: bool = False) -> Submit:
        r = self.r
        deps: tuple[int, ...] = ()
        if not in_callback and self.futures and r.random() < 0.25:
            deps = tuple(r.sample(self.futures, min(len(self.futures), r.randrange(1, 4))))
        key = self.n_calls
        self.n_calls += 1
        if not in_callback:
            self.futures.append(key)
        if r.random() < 0.05:
            return Submit(key, V("read prepared"), deps=deps)
        f, args, kwargs = self.draw.call()
        return Submit(key, f, args, kwargs, deps, r.random() < 0.4, r.random() < 0.2)

    def map(self) -> Map:
        r = self.r
        key = self.n_calls
        self.n_calls += 1
        # The state of a function is shared within a chunk, so no function here changes its own.
        kind = r.choice(("function", "function", "lambda", "builtin", "unprintable"))
        f = V(kind, self.draw.number(), self.draw.values(1) if kind == "lambda" else ())
        how = r.choice(("map", "map", "zip", "starmap"))
        n = r.choice((0, 1, 2, 5, 5, 20))
        if how == "map":
            items = tuple(self.draw.value() for _ in range(n))
        elif how == "zip":
            items = tuple(V("tuple", 0, (self.draw.value(), self.draw.value())) for _ in range(n))
        else:
            items = tuple(V("tuple", 0, self.draw.values(2)) for _ in range(n))
        return Map(
            key,
            f,
            items,
            how,
            chunksize=r.choice((0, 0, 0, 1, 2, 7)),
            buffersize=r.choice((0, 0, 1, 3, 50)),
            unordered=r.random() < 0.2,
            take=r.choice((-1, -1, -1, -1, 0, 1, 3)),
            fails=r.random() < 0.05,
            late=r.random() < 0.3,
        )
