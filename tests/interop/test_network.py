"""A network that this pool builds is bitwise equal to the one of unmodified bsb."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from .conftest import Players

pytestmark = pytest.mark.interop

RANKS = [
    3,
    pytest.param(0, marks=pytest.mark.slow),
    pytest.param(2, marks=pytest.mark.long),
    pytest.param(4, marks=pytest.mark.long),
]
"""The number of ranks; 0 is one process without mpiexec."""

PHASES = [
    {"stretch", "stretch more"},
    {"soma", "grain", "moon", "post", "seed"},
    {"mark", "shadow"},
    {"a_soma_to_moon", "b_moon_to_seed", "c_soma_to_seed", "grain_to_grain", "shade_to_post"},
    {"fused"},
]
DEPENDS_ON = {
    "moon": {"soma", "post"},
    "c_soma_to_seed": {"a_soma_to_moon", "b_moon_to_seed"},
}


def work(reports: list[Any]) -> list[tuple[str, Any]]:
    """What ran on all ranks together: names and chunks, in an order of their own."""
    entries = [entry for report in reports for entry in report["journal"]]
    return sorted((entry["name"], sorted(entry["chunks"] or [])) for entry in entries)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", ["example", "own", "theirs"])
def test_equal_to_unmodified_bsb(play: Players, scene: str, ranks: int) -> None:
    theirs = play("build", pool="bsb").main(scene)
    ours = play("build", ranks).main(scene)
    if scene == "own":
        assert ours["sizes"] == theirs["sizes"]
        ours, theirs = ours["digests"], theirs["digests"]
        assert all(not digest.startswith("0 ") for digest in theirs.values()), "compares nothing"
    assert ours == theirs


@pytest.mark.parametrize("ranks", RANKS)
def test_each_job_runs_once(play: Players, ranks: int) -> None:
    ours = play("build", ranks)
    assert work(ours["own"]) == work(play("build", pool="bsb")["own"])
    jobs = ours.main("own")["added"]
    granule = 1  # its pipeline has no step of ours
    assert len(jobs) == len(work(ours["own"])) + granule - len(["3branch, twice"])


@pytest.mark.parametrize("ranks", RANKS)
def test_in_the_order_of_dependencies(play: Players, ranks: int) -> None:
    entries = [entry for report in play("build", ranks)["own"] for entry in report["journal"]]

    def assert_order(before: set[str], after: set[str]) -> None:
        ended = max(entry["end"] for entry in entries if entry["name"] in before)
        began = min(entry["begin"] for entry in entries if entry["name"] in after)
        assert ended <= began, f"{after} began before {before} had ended"

    for before, after in pairwise(PHASES):
        assert_order(before, after)
    for name, others in DEPENDS_ON.items():
        assert_order(others, {name})


@pytest.mark.parametrize("ranks", RANKS)
def test_jobs_run_in_the_main_thread_of_the_workers(play: Players, ranks: int) -> None:
    reports = [report["journal"] for report in play("build", ranks)["own"]]
    assert all(entry["in_main_thread"] for journal in reports for entry in journal)
    if ranks:
        assert not reports[0], "main ran jobs though there were workers"
        assert all(reports[1:]), "a worker ran nothing"


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("build", ranks).ended.ok()
