"""Pools and jobs release all resources: the short form of ``make soak``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .kinds import KINDS
from .launching import BLOCKS, MIB, Soaked, faults, growth, soak

LITTLE = 0.06
"""The growth of memory that a short run allows. It shows leaks of a few MiB."""

pytestmark = [
    pytest.mark.limit(120),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

on_ranks = pytest.mark.parametrize("ranks", [0, 3])


def soaked(tmp_path: Path, ranks: int, *program: object) -> Soaked:
    return soak(*program, ranks=ranks, folder=tmp_path, timeout=90)


@on_ranks
def test_hundreds_of_pools_of_all_kinds(tmp_path: Path, ranks: int) -> None:
    report = soaked(tmp_path, ranks, "pools", 20 * len(KINDS))
    assert faults(report, LITTLE) == []
    assert len(report.ranks) == max(1, ranks)
    assert bool(report.ranks[0]["after"]["mpi"]) == bool(ranks)


@on_ranks
def test_many_jobs_whose_results_nobody_keeps(tmp_path: Path, ranks: int) -> None:
    assert faults(soaked(tmp_path, ranks, "jobs", 60, 4_000), LITTLE) == []


def test_pools_that_are_never_executed(tmp_path: Path) -> None:
    """They have no loop that completes their last sends, and none that receives them.

    UCX allocates buffers by the MiB when one rank is ahead of the other, so there are
    enough of them to tell that from messages that stay.
    """
    report = soaked(tmp_path, 2, "pools", 1_500, "never_executed")
    assert faults(report, LITTLE, heap=4 * MIB) == []


def test_communicators_that_come_and_go(tmp_path: Path) -> None:
    """The last message of a pool has been sent when its communicator is freed."""
    assert faults(soaked(tmp_path, 2, "pools", 50, "of_a_communicator"), LITTLE) == []


# ------------------------------------------------------------------ tests of the counting


@on_ranks
def test_what_is_left_behind_is_found(tmp_path: Path, ranks: int) -> None:
    found = " ".join(faults(soaked(tmp_path, ranks, "leak")))
    expected = ["descriptors", "objects", "memory grew"]
    expected += ["requests", "communicators", "at the end of MPI"] if ranks else []
    assert [what for what in expected if what not in found] == []


def test_growth_is_seen_and_noise_is_not() -> None:
    level = [(100 + (i % 3) / 3) * MIB for i in range(60)]
    rising = [100 * MIB * (1 + 0.05 * i / 60) for i in range(60)]
    early = [min(100, 50 + 5 * i) * MIB for i in range(60)]
    assert abs(growth(level)) < 0.01
    assert growth(rising) > 0.02
    assert abs(growth(early)) < 0.01


def test_blocks_are_counted() -> None:
    count = {"descriptors": 3, "threads": 1, "heap": 0, "objects": {}, "mpi": {}}
    report = {
        "before": count | {"blocks": 1_000},
        "after": count | {"blocks": 1_001 + BLOCKS},
        "memory": [MIB] * 9,
    }
    assert faults(Soaked([report], "")) == [f"rank 0: blocks 1000 -> {1_001 + BLOCKS}"]
