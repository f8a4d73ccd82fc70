"""The programs of examples/ipyparallel print the right results, on engines that are MPI workers."""

from __future__ import annotations

import re
from decimal import Decimal, getcontext
from functools import cache

import pytest

from .launch import EXAMPLES, Ended, python

pytestmark = pytest.mark.interop

PROGRAMS = EXAMPLES / "ipyparallel"
OURS = "import bsbpool.integrations.ipyparallel as ipp"
THEIRS = "import ipyparallel as ipp"
NAMES = ["joblib_search", "option_prices", "pi_digits", "task_graph", "wave_equation"]


@cache
def ended(name: str) -> Ended:
    return python("-m", "bsbpool.run", PROGRAMS / f"{name}.py", ranks=4).ok()


def numbers(text: str, pattern: str) -> list[float]:
    """Return the numbers in the line that matches a pattern."""
    found = re.search(rf"^.*{pattern}.*$", text, re.M)
    assert found, text
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", found.group())]


def test_all_programs_are_here() -> None:
    assert sorted(path.stem for path in PROGRAMS.glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_only_the_import_is_ours(name: str) -> None:
    text = (PROGRAMS / f"{name}.py").read_text()
    assert text.count("\n" + OURS + "\n") == 1
    assert text.count("bsbpool") == 2  # the import, and the command in the docstring


def test_prices_of_options() -> None:
    output = ended("option_prices").output
    assert numbers(output, "tasks on")[:2] == [15, 3]
    assert numbers(output, "Black-Scholes")[0] < 0.2
    strike, volatility, call, put, asian_call, asian_put = numbers(output, "^ +100 +0.2 ")
    forward = 100 - strike * 0.951229  # put-call parity, with the interest of a year
    assert (strike, volatility) == (100, 0.2)
    assert call - put == pytest.approx(forward, abs=0.1)
    assert 0 < asian_call < call and 0 < asian_put < put


def pi(n_digits: int) -> str:
    """Return digits of pi behind the point, by Machin's formula."""
    getcontext().prec = n_digits + 10
    return str(16 * inverse_tangent(5) - 4 * inverse_tangent(239))[2 : n_digits + 2]


def inverse_tangent(n: int) -> Decimal:
    """Return the inverse tangent of 1 / n."""
    term = total = Decimal(1) / n
    k = 1
    while abs(term) > Decimal(10) ** -getcontext().prec:
        k, term = k + 2, -term / (n * n)
        total += term / k
    return total


def test_digits_of_pi() -> None:
    output = ended("pi_digits").output
    assert f"pi = 3.{pi(30)}..." in output
    assert "the last ten of 100000 digits are 5493624646" in output  # known
    counts = numbers(output, "^digits")
    assert sum(counts) == 100_000
    assert counts == [9999, 10137, 9908, 10025, 9971, 10026, 10029, 10025, 9978, 9902]  # known
    assert numbers(output, "pairs:")[0] == 99_999


def test_graph_of_tasks() -> None:
    output = ended("task_graph").output
    assert numbers(output, "tasks on") == [60, 3, 9]
    assert numbers(output, "edges kept") == [150, 150]
    assert "after a failure: ImpossibleDependency ran\n" in output


def test_wave_equation() -> None:
    """The grid is that of the same scheme on one process."""
    import numpy as np

    points, courant = 96, 0.5
    x = np.linspace(0, 1, points)
    now = np.exp(-80 * ((x[:, None] - 0.4) ** 2 + (x[None, :] - 0.5) ** 2))
    now[[0, -1]] = now[:, [0, -1]] = 0
    before, sums = now, []
    for step in range(1, 121):
        middle = now[1:-1, 1:-1]
        curvature = now[:-2, 1:-1] + now[2:, 1:-1] + now[1:-1, :-2] + now[1:-1, 2:] - 4 * middle
        after = np.zeros_like(now)
        after[1:-1, 1:-1] = 2 * middle - before[1:-1, 1:-1] + courant**2 * curvature
        before, now = now, after
        if step % 30 == 0:
            sums.append(round(float((now**2).sum()), 6))
    output = ended("wave_equation").output
    assert [numbers(output, f"after +{n} steps")[1] for n in (30, 60, 90, 120)] == pytest.approx(
        sums, abs=2e-6
    )
    assert numbers(output, "^grid")[2:] == pytest.approx([now.min(), now.max()], abs=2e-6)


def test_search_of_scikit_learn() -> None:
    lines = ended("joblib_search").output.splitlines()
    assert lines[0] == f"sum of cubes {sum(n**3 for n in range(20))}"
    assert lines[1].startswith("best: C=5.0, gamma=0.1, score 0.9")
    assert lines[2:] == ["scores without engines: the same", "the engines ran some tasks"]


@pytest.mark.long  # ipyparallel starts its engines in 5 to 10 seconds
@pytest.mark.parametrize("name", NAMES)
def test_ipyparallel_prints_the_same(name, tmp_path, monkeypatch) -> None:
    pytest.importorskip("ipyparallel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    script = tmp_path / f"{name}.py"
    script.write_text((PROGRAMS / script.name).read_text().replace(OURS, THEIRS))
    theirs = python(script).ok()
    assert results(ended(name).output) <= results(theirs.output), theirs.story


def results(output: str) -> set[str]:
    """Return the lines that do not depend on times."""
    return {line for line in output.splitlines() if "speed-up" not in line}
