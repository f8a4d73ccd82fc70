"""Sixteen ranks on few cores: the short form of ``make many``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from . import __main__ as table
from .checks import CHECKS
from .launching import Run, run, stacks_in

pytestmark = pytest.mark.limit(120)


def test_sixteen_ranks() -> None:
    done = run(16, {}, pools=3, jobs=20_000, limit=60)
    assert done.problem == ""
    assert list(done.report["seconds"]) == [check.__name__ for check in CHECKS]
    assert done.report["jobs_per_s"] > 500


def test_ranks_that_hang_are_shown(tmp_path: Path) -> None:
    """A setting that no pool has fails the run; a limit that is over shows the stacks."""
    done = run(2, {"no_such_setting": 1}, limit=30)
    assert "no_such_setting" in done.problem and not done.report
    began = time.monotonic()
    late = run(2, {}, jobs=100_000_000, checks=False, limit=3, grace=4)
    assert "ranks 1 ====" in late.problem and "execute" in late.problem
    assert time.monotonic() - began < 60


def test_equal_stacks_are_shown_once(tmp_path: Path) -> None:
    for rank in range(3):
        (tmp_path / str(rank)).write_text("" if rank == 2 else f"Thread 0x{rank}\n  waits\n")
    assert stacks_in(tmp_path).count("waits") == 1
    assert "ranks 0, 1" in stacks_in(tmp_path)


def test_missed_targets() -> None:
    report = {"seconds": {"plain_jobs": 1.0}, "jobs_per_s": 20_000.0, "pool_ms": 50.0}
    line, missed = table.row("mpich", 64, Run(report, ""), 100_000.0)
    assert "0.20" in line and len(missed) == 2
    report |= {"jobs_per_s": 40_000.0, "pool_ms": 30.0}
    assert table.row("mpich", 64, Run(report, ""), 100_000.0)[1] == []
