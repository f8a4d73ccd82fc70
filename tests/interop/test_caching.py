"""Items that strategies cache stay on each rank as long as a job needs them, and no longer."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Players

pytestmark = pytest.mark.interop

RANKS = [0, 2, 3]
SCENES = ["compiled", "again", "queued", "tracked"]
ITEMS = [
    f"{node}.{item}"
    for node in ("first", "second", "third")
    for item in ("get_indicators", "helper")
]
JOBS = [node for node in ("first", "second", "third") for _ in range(4)]


def at_work(reports: list[Any]) -> list[Any]:
    """The reports of the ranks that ran jobs."""
    return [report for report in reports if report["ledger"]]


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_each_job_runs_once(play: Players, scene: str, ranks: int) -> None:
    ledgers = [report["ledger"] for report in play("caching", ranks)[scene]]
    assert sorted(node for ledger in ledgers for what, node in ledger if what == "job") == JOBS


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_items_are_evaluated_once_while_needed(play: Players, scene: str, ranks: int) -> None:
    """An item is evaluated again only after it was freed, and is freed once."""
    for report in at_work(play("caching", ranks)[scene]):
        kept: set[str] = set()
        for what, name in report["ledger"]:
            if what == "evaluate":
                assert name not in kept, f"{name} evaluated again: {report['ledger']}"
                kept.add(name)
            elif what == "free":
                kept.remove(name)
        assert not kept


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", ["queued", "tracked"])
def test_one_evaluation_when_all_jobs_are_known(play: Players, scene: str, ranks: int) -> None:
    for report in at_work(play("caching", ranks)[scene]):
        events = [tuple(event) for event in report["ledger"]]
        for item in ITEMS:
            evaluated = events.count(("evaluate", item))
            assert evaluated == (("job", item.partition(".")[0]) in events)
            assert events.count(("free", item)) == evaluated


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", ["queued", "tracked"])
def test_freed_within_a_job_of_the_last_use(play: Players, scene: str, ranks: int) -> None:
    """The nodes run one after the other: an item is freed before the second job of the next."""
    for report in at_work(play("caching", ranks)[scene]):
        jobs: list[str] = []
        for what, name in report["ledger"]:
            if what == "job":
                jobs.append(name)
            elif what == "free":
                node = name.partition(".")[0]
                later = jobs[len(jobs) - jobs[::-1].index(node) :]
                assert len(later) <= 1, f"{name} was freed late: {report['ledger']}"


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_left(play: Players, scene: str, ranks: int) -> None:
    assert [report["left"] for report in play("caching", ranks)[scene]] == [[0, 0]] * max(ranks, 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_replaced_sweep_is_called_before_each_job(play: Players, ranks: int) -> None:
    for report in at_work(play("caching", ranks)["tracked"]):
        jobs = [what for what, _ in report["ledger"]].count("job")
        assert len(report["swept"]) >= jobs
        assert all(on_the_network for _, on_the_network, _ in report["swept"])


@pytest.mark.parametrize("ranks", RANKS)
def test_a_replaced_sweep_frees_all(play: Players, ranks: int) -> None:
    """Each item once, and in order."""
    for report in at_work(play("caching", ranks)["tracked"]):
        freed = [name for stale, _, _ in report["swept"] for name in stale]
        used = {name for what, name in report["ledger"] if what == "evaluate"}
        assert freed == [item for item in ITEMS if item in used]


@pytest.mark.parametrize("ranks", RANKS)
def test_the_window_shows_what_is_needed(play: Players, ranks: int) -> None:
    """Three ids for each node (one is of its distributors), fewer as the nodes are done."""
    reports = play("caching", ranks)["tracked"]
    assert reports[0]["required"] == sorted([*ITEMS, *["distribute"] * 3])
    for report in at_work(reports):
        assert set(report["read"]) <= {9, 6, 3, 0}
        assert report["read"] == sorted(report["read"], reverse=True)
    if ranks == 2:  # one worker, that reads before each job
        assert reports[1]["read"] == [9] * 4 + [6] * 4 + [3] * 4


@pytest.mark.parametrize("ranks", RANKS)
def test_nothing_outlives_the_next_pool(play: Players, ranks: int) -> None:
    for report in play("caching", ranks)["by_hand"]:
        assert report["same"]
        assert report["hits"]
        assert report["before"] == [1, 1]
        assert report["after"] == [0, 0]
        assert report["evaluated"] == 2, "not evaluated again after cache_clear"


def test_ids_are_those_of_bsb(play: Players) -> None:
    ids = play("caching").main("ids")
    assert ids["items"] == ids["expected"]
    assert ids["hash"]
    assert ids["no_node"]["type"] == "RuntimeError"
    assert ids["no_node"]["text"].startswith(
        "Pool caching can only be used on methods of @node decorated classes"
    )


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("caching", ranks).ended.ok()
