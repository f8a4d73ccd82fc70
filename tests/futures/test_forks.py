"""Children that jobs, calls and programs fork end like other processes, and leave MPI alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.launch import mpirun

LIMIT = 120.0
SCRIPT = Path(__file__).parent / "forking.py"
CHILDREN = {"job": 3, "block": 7, "program": 7}


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("how", CHILDREN)
def test_children_end_as_those_of_any_other_process(how, ranks) -> None:
    runner = ["-m", "bsbpool.run"] if how == "program" else []
    done = mpirun(ranks, *runner, SCRIPT, how, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    assert f"children: {CHILDREN[how]}\n" in done.stdout, done.stdout
    assert "bsbpool: rank" not in done.stdout  # a child that crashes does not speak for its rank
