"""The lock behaves as that of mpilock: the same program, with either of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.launch import mpirun

PROGRAM = Path(__file__).with_name("behaviours.py")
N_BEHAVIOURS = PROGRAM.read_text().partition("BEHAVIOURS")[2].partition("]\n\n")[0].count(",\n")


@pytest.mark.parametrize(
    ("lock", "ranks", "nodes"),
    [("native", 3, 1), ("native", 4, 2), ("native", 3, 3), ("mpilock", 3, 1)],
)
def test_behaviours(lock, ranks, nodes) -> None:
    if lock == "mpilock":
        pytest.importorskip("mpilock")
    done = mpirun(ranks, PROGRAM, lock, env={"BSBPOOL_TEST_NODES": str(nodes)})
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.isidentifier()]
    assert len(lines) == N_BEHAVIOURS == 13, lines
