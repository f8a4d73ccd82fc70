"""Random scripts under ``python -m bsbpool.run`` that change their globals between calls.

    python -m differential.scripts --seeds 2000 --first 1 --ranks 3     (in `tests`)

A seed makes a list of statements that define, rebind, mutate and delete globals, helper functions
and classes, and of calls between them. The statements run in the namespace of `__main__`. There are
two kinds of programs. In the first kind calls change nothing, so each must return what the same
call returns in the script's own process when it is submitted. In the second kind calls change
globals on their worker, and `Workers` models the globals of each worker.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from differential.script_sources import CALLS, CLASSES, DATA, HELPERS, OTHERS, START, statement
from helpers.launch import mpirun

PROGRAM = Path(__file__).with_name("script_program.py")
LOCK = type(threading.Lock())
STEPS = 30


# ------------------------------------------------------------------ calls that change nothing


def plain(value: Any) -> Any:
    """Return a value that can be pickled."""
    return 0 if isinstance(value, LOCK) else copy.deepcopy(value)


def outcome(call: Callable[[], Any]) -> str:
    """Return the outcome of a call as text that two processes can compare."""
    try:
        return repr(call())
    except NameError as error:
        why = " (cannot be pickled)" if "cannot be pickled" in str(error) else ""
        return f"NameError {str(error).split(chr(39))[1]}{why}"
    except Exception as error:
        return type(error).__name__


class Reader:
    """A program whose calls change nothing.

    Parameters
    ----------
    seed : int
        The seed of the program.
    names : dict
        The namespace of `__main__`.
    open_executor : callable
        Opens an executor.
    """

    def __init__(self, seed: int, names: dict[str, Any], open_executor: Callable[[], Any]) -> None:
        self.draw = random.Random(seed)
        self.names, self.open = names, open_executor
        self.waiting: list[tuple[str, list[str], Callable[[], list[str]]]] = []
        self.differences: list[str] = []
        self.done: list[str] = []

    def run(self) -> list[str]:
        """Run the program; return the differences."""
        self.execute(START)
        executor = self.open()
        for _ in range(STEPS):
            if self.draw.random() < 0.55:
                self.execute(statement(self.draw))
            else:
                self.call(executor)
            if self.draw.random() < 0.1:
                self.settle()
            if self.draw.random() < 0.02:
                self.settle()
                executor.shutdown()
                executor = self.open()
        self.settle()
        executor.shutdown()
        return self.differences

    def execute(self, source: str) -> None:
        self.done.append(source)
        try:
            exec(source, self.names)
        except Exception:
            self.done[-1] += "    # which raises"

    def call(self, executor: Any) -> None:
        draw, source = self.draw, self.draw.choice(CALLS)
        try:
            f = eval(source, self.names)
        except Exception:
            return
        items = [draw.randrange(5) for _ in range(draw.choice([1, 1, 3, 20]))]
        # Sometimes the items of a map are objects of the script.
        of_script = type(self.names.get("o0")) in map(self.names.get, CLASSES)
        if draw.random() < 0.15 and of_script:
            items, f = [copy.deepcopy(self.names["o0"])], attribute_m
        way = draw.choice(["submit", "submit", "submit", "map", "starmap", "buffer", "options"])
        if isinstance(items[0], LOCK):
            return
        expected = self.expected(f, items)
        self.done.append(f"{way} {source}, {items}")
        taken = self.begin(executor, way, f, items)
        self.waiting.append((f"{len(self.done)}: {way} {source}", expected, taken))

    def expected(self, f: Callable[..., Any], items: list[Any]) -> list[str]:
        """Call in this process, without the globals that cannot be pickled."""
        locks = {name: obj for name, obj in self.names.items() if isinstance(obj, LOCK)}
        for name in locks:
            del self.names[name]
        found = [outcome(lambda item=item: f(item)) for item in items]
        self.names.update(locks)
        return [
            text + " (cannot be pickled)" if text.removeprefix("NameError ") in locks else text
            for text in found
        ]

    def begin(
        self, executor: Any, way: str, f: Callable[..., Any], items: list[Any]
    ) -> Callable[[], list[str]]:
        if way in ("submit", "options"):
            view = executor.options(name="named") if way == "options" else executor
            futures = [view.submit(f, item) for item in items]
            return lambda: [outcome(future.result) for future in futures]
        chunksize = self.draw.choice([None, 1, 5])
        if way == "starmap":
            results = executor.starmap(f, [(item,) for item in items], chunksize=chunksize)
        elif way == "map":
            results = executor.map(f, items, chunksize=chunksize)
        else:
            results = executor.map(f, items, chunksize=chunksize, buffersize=2)
        return lambda: from_map(results)

    def settle(self) -> None:
        """Compare the outcomes of the calls so far."""
        for what, expected, taken in self.waiting:
            found = taken()
            known = expected[: len(found)]  # a map ends at the first error
            if found != known or (len(found) < len(expected) and found[-1][0].islower()):
                self.differences.append(f"{what}\n  expected {expected}\n  found    {found}")
        self.waiting.clear()


def attribute_m(obj: Any) -> Any:
    """Call a method of an item."""
    return obj.m(1), obj.value, type(obj).__name__


def from_map(results: Any) -> list[str]:
    """Return the results of a map, up to its first error."""
    found = []
    while True:
        try:
            found.append(repr(next(results)))
        except StopIteration:
            return found
        except Exception as error:
            found.append(outcome(partial(_raise, error)))
            return found


def _raise(error: Exception) -> None:
    raise error


# ------------------------------------------------------------------ calls that change globals


WRITING = """
n, items, table, unset = 0, [], {}, 0
del unset
def count(x):
    global n
    n += x
    return n
def grow(x):
    items.append(x)
    return list(items)
def put(x):
    table[x] = table.get(x, 0) + n
    return dict(table)
def begin(x):
    global unset
    unset = x
    return unset
def both(x):
    return unset, len(items)
class Counter:
    made = 0
    def make(self, x):
        Counter.made += x
        return Counter.made
counter = Counter()
def counted(x):
    return who(), COUNTED[x[0]](x[1])
COUNTED = {}
"""
REACHED = {
    "count": ["n"], "grow": ["items"], "put": ["n", "table"], "begin": ["unset"],
    "both": ["items", "unset"], "make": ["Counter"],
}  # fmt: skip
"""The globals that each function uses and some statement changes."""
CHANGES = [
    "n = {x}", "items = [{x}]", "items.append({x})", "table = {{{x}: {x}}}", "table[{x}] = 7",
    "unset = {x}", "del unset", "Counter.made = {x}", "n += 0", "items = list(items)",
]  # fmt: skip


class Workers:
    """The globals of each worker, according to the documented rule.

    A worker keeps the changes of calls to a global until the script's own value has changed between
    two submissions of calls that use it.
    """

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, Any]] = {}
        self.states: dict[Any, dict[str, tuple[int, Any]]] = {}

    def look(self, names: dict[str, Any], reached: list[str]) -> dict[str, tuple[int, Any]]:
        """Record the values at a submission."""
        for name in reached:
            value = names.get(name, LOCK)
            value = value.made if name == "Counter" else copy.deepcopy(value)
            number, before = self.seen.get(name, (0, LOCK))
            if value != before:
                number += 1
            self.seen[name] = number, value
        return {name: self.seen[name] for name in reached}

    def call(self, worker: Any, function: str, x: int, seen: dict[str, tuple[int, Any]]) -> Any:
        """Return what a call returns on a worker."""
        state = self.states.setdefault(worker, {})
        for name, (number, value) in seen.items():
            if state.get(name, (0, LOCK))[0] != number:
                state[name] = number, copy.deepcopy(value)
            state.setdefault(name, (0, LOCK))
        value = getattr(self, function)(state, x)
        return copy.deepcopy(value)

    def _set(self, state: dict[str, tuple[int, Any]], name: str, value: Any) -> Any:
        state[name] = state[name][0], value
        return value

    def count(self, state: Any, x: int) -> Any:
        return self._set(state, "n", state["n"][1] + x)

    def grow(self, state: Any, x: int) -> Any:
        return list(self._set(state, "items", [*state["items"][1], x]))

    def put(self, state: Any, x: int) -> Any:
        table = state["table"][1]
        return self._set(state, "table", {**table, x: table.get(x, 0) + state["n"][1]})

    def begin(self, state: Any, x: int) -> Any:
        return self._set(state, "unset", x)

    def both(self, state: Any, x: int) -> Any:
        if state["unset"][1] is LOCK:
            return "NameError"
        return state["unset"][1], len(state["items"][1])

    def make(self, state: Any, x: int) -> Any:
        return self._set(state, "Counter", state["Counter"][1] + x)


workers = Workers()
"""Counts of all programs of this process, which use the same workers in sequence."""


class RankedCall:
    """A call that returns the rank that ran it and its number among the calls of that worker."""

    calls = 0

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f

    def __call__(self, x: int) -> Any:
        from bsbpool.services import MPI

        RankedCall.calls += 1
        try:
            return MPI.get_rank(), RankedCall.calls, self.f(x)
        except NameError:
            return MPI.get_rank(), RankedCall.calls, "NameError"


class Writer(Reader):
    """A program whose calls change globals on their worker."""

    def run(self) -> list[str]:
        """Run the program; return the differences."""
        for name in ("n", "items", "table", "unset", "Counter", "counter"):
            self.names.pop(name, None)
        self.execute(WRITING)
        calls = []
        executor = self.open()
        for _ in range(STEPS):
            x = self.draw.randrange(1, 4)
            if self.draw.random() < 0.3:
                self.execute(self.draw.choice(CHANGES).format(x=x))
                continue
            function = self.draw.choice(list(REACHED))
            f = self.names["counter"].make if function == "make" else self.names[function]
            seen = workers.look(self.names, REACHED[function])
            calls.append((function, x, seen, executor.submit(RankedCall(f), x)))
            self.done.append(f"{len(calls)}: submit {function}, {x}")
            if self.draw.random() < 0.2:
                calls[-1][-1].result()
        found = [(*future.result()[:2], place) for place, (*_, future) in enumerate(calls)]
        for rank, number, place in sorted(found):
            function, x, seen, future = calls[place]
            expected, (_, _, value) = workers.call(rank, function, x, seen), future.result()
            if value != expected:
                self.differences.append(
                    f"call {place + 1} {function} on rank {rank} as its {number}th\n"
                    f"  expected {expected}\n  found    {value}"
                )
        executor.shutdown()
        return self.differences


# ------------------------------------------------------------------ many of them


def run_seeds(first: int, seeds: int, names: dict[str, Any], open_executor: Any) -> int:
    """Run programs in the process of a script; return how many differ."""
    import functools
    import math

    failures = 0
    for seed in range(first, first + seeds):
        for name in (*DATA, *HELPERS, *CLASSES, *OTHERS):
            names.pop(name, None)
        names.update(functools=functools, math=math, threading=threading, plain=plain)
        program = (Writer if seed % 3 == 0 else Reader)(seed, names, open_executor)
        if differences := program.run():
            failures += 1
            print(f"seed {seed}:", *program.done, *differences, sep="\n", flush=True)
    return failures


def main() -> int:
    """Run many seeds on ranks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m differential.scripts")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--ranks", type=int, default=3)
    options = parser.parse_args()
    done = launch(options.ranks, options.first, options.seeds, timeout=60 + options.seeds)
    print(done.stdout)
    return done.returncode


def launch(ranks: int, first: int, seeds: int, timeout: float) -> Any:
    """Run seeds in one launch."""
    path = os.pathsep.join([str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = ["-m", "bsbpool.run", PROGRAM, str(first), str(seeds)]
    return mpirun(ranks, *command, timeout=timeout, env={"PYTHONPATH": path})


if __name__ == "__main__":
    sys.exit(main())
