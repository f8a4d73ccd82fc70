"""Programs for other pools behave alike here after a change of their imports."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .launch import SCRIPTS, Ended, python

pytestmark = pytest.mark.interop

RANKS = (1, 3)
SECONDS = 60.0


@cache
def output_of(whose: str, script: str, ranks: int, *more: str, runner: str = "") -> tuple[str, ...]:
    """Return the lines that a program prints, sorted, because ranks print at the same time."""
    return tuple(sorted(run(whose, script, ranks, *more, runner=runner).ok().output.splitlines()))


def run(
    whose: str, script: str, ranks: int, *more: str, runner: str = "", seconds: float = SECONDS
) -> Ended:
    started_by = ("-m", runner) if runner else ()
    arguments: tuple[Any, ...] = (*started_by, SCRIPTS / f"{script}.py", whose, *more)
    return python(*arguments, ranks=0 if ranks == 1 else ranks, seconds=seconds)


@pytest.mark.parametrize("ranks", RANKS)
def test_comm_executor(ranks: int) -> None:
    theirs = output_of("theirs", "moving_comm", ranks)
    assert len(theirs) > 40
    assert output_of("ours", "moving_comm", ranks) == theirs


@pytest.mark.parametrize("ranks", RANKS)
def test_pool_executor(ranks: int) -> None:
    """mpi4py's own has no worker in a single process, so it gets a second one."""
    theirs = output_of("theirs", "moving_main", max(ranks, 2), runner="mpi4py.futures")
    assert len(theirs) == 9
    ours = output_of("ours", "moving_main", ranks, runner="bsbpool.run")
    if ranks > 1:
        assert ours == theirs
    else:  # the worker is a thread, with the job contexts of the program
        around = [line for line in ours if line.startswith("around")]
        assert [line for line in ours if line not in around] == [
            line for line in theirs if not line.startswith("around")
        ]


def test_comm_executor_where_workers_wait(tmp_path: Path) -> None:
    """The program also works under the runner, as with mpi4py's."""
    packages = {
        "mpi4py.futures": "mpi4py.futures",
        "bsbpool.run": "bsbpool.integrations.mpi4py_futures",
    }
    for runner, package in packages.items():
        script = tmp_path / "script.py"
        script.write_text(f"""
from mpi4py import MPI
from {package} import MPICommExecutor
if __name__ == "__main__":
    with MPICommExecutor(MPI.COMM_WORLD, root=1) as executor:
        print(executor.num_workers, list(executor.map(abs, range(-3, 3))))
""")
        ended = python("-m", runner, script, ranks=3, seconds=SECONDS).ok()
        assert ended.output == "2 [3, 2, 1, 0, 1, 2]\n"


@pytest.mark.parametrize("ranks", RANKS)
def test_mpipool(ranks: int) -> None:
    """The original needs two processes, so one process here is compared with two there.

    It also goes on for ever with an endless map, of which only some results are wanted.
    """
    theirs = output_of("theirs", "moving_mpipool", max(ranks, 2))
    assert len(theirs) > 20
    expected = sorted([*theirs, "endless [0, 1, 2, 3, 4]"])
    if ranks == 1:  # without the lines of a worker
        for line in ("a worker", "all ranks", "open False"):
            expected.remove(line)
    assert list(output_of("ours", "moving_mpipool", ranks, "endless")) == expected


@pytest.mark.parametrize("serializer", ["pickle", "dill"])
@pytest.mark.parametrize("ranks", RANKS)
def test_schwimmbad(ranks: int, serializer: str) -> None:
    """The original needs two processes, so one process here is compared with two there."""
    # At exit it sends to ranks that have ended; MPICH often aborts then, or hangs.
    original = run("theirs", "moving_schwimmbad", max(ranks, 2), serializer, seconds=15)
    theirs, end, _ = original.output.partition("end\n")
    assert end, original.story
    ours = run("ours", "moving_schwimmbad", ranks, serializer).ok()
    assert ours.output == theirs + end
