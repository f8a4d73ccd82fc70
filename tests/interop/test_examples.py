"""The examples for other packages give the same numbers on ranks as without bsbpool."""

from __future__ import annotations

import importlib
import itertools
import math
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from .launch import EXAMPLES, SCRIPTS, python

pytestmark = pytest.mark.interop

SECONDS = 90.0


class Here:
    """A pool that calls functions directly."""

    map = staticmethod(map)


def one_thread(find: Callable[..., Any], *more: Any) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return find(executor, *more)


SERIALLY: dict[str, Callable[[Any], Any]] = {
    "adaptive": lambda example: one_thread(example.integral, 1),
    "asyncio": lambda example: sum(map(math.sqrt, range(1, 21))),
    "dask": lambda example: example.mean_distance("synchronous"),
    "emcee": lambda example: example.mean_slope(Here),
    "optuna": lambda example: one_thread(example.best),
    "pymoo": lambda example: example.hypervolume(itertools.starmap),
    "scipy": lambda example: example.lowest(map),
    "tqdm": lambda example: max(map(example.steps_to_one, range(1, 3000))),
}
"""How to compute the number of each example with its package alone."""
TOLERANCE = {"adaptive": 2e-3}
"""Examples whose number depends on the order of results."""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield


@cache
def expected(name: str) -> Any:
    number = float(SERIALLY[name](importlib.import_module(f"with_{name}")))
    return pytest.approx(number, rel=TOLERANCE.get(name, 0.0), abs=1e-9)


def test_all_examples_are_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("with_*.py")} == {f"with_{n}" for n in SERIALLY}


def test_adaptive_has_learned() -> None:
    """The number is as close to the exact one as its tolerance."""
    exact = importlib.import_module("with_adaptive").exact()
    assert expected("adaptive").expected == pytest.approx(exact, rel=TOLERANCE["adaptive"])


@pytest.mark.slow  # on the other MPI test_one_executor_for_all is enough
@pytest.mark.parametrize("name", SERIALLY)
def test_example(name: str) -> None:
    ended = python(EXAMPLES / f"with_{name}.py", ranks=3, seconds=SECONDS).ok()
    # A progress bar may precede it in the line.
    numbers = re.findall(r"[a-z]+ (\d+(?:\.\d+)?)$", ended.output, re.MULTILINE)
    assert len(numbers) == 1, ended.story
    assert float(numbers[0]) == expected(name)


@pytest.mark.parametrize("ranks", [1, 3])
def test_one_executor_for_all(ranks: int) -> None:
    script = SCRIPTS / "examples_together.py"
    ended = python(script, ranks=0 if ranks == 1 else ranks, seconds=SECONDS).ok()
    found = dict(re.findall(r"^([a-z]+) (\d+\.\d+)$", ended.output, re.MULTILINE))
    assert {name: float(number) for name, number in found.items()} == {
        name: expected(name) for name in SERIALLY
    }


@pytest.mark.parametrize("ranks", [0, 3, 4])
def test_a_solver_on_several_ranks_finds_the_solution(ranks: int) -> None:
    ended = python(EXAMPLES / "parallel_jobs.py", ranks=ranks, seconds=SECONDS).ok()
    found = re.search(r"^error (\S+)$", ended.output, re.MULTILINE)
    assert found is not None and float(found[1]) < 1e-8, ended.story
