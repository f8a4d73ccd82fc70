"""Direct use of the pool, lock and tests of a network."""

from __future__ import annotations

import pytest

from .conftest import Players
from .test_network import work

pytestmark = pytest.mark.interop

RANKS = [0, 3]


@pytest.mark.parametrize("ranks", RANKS)
def test_results_of_functions(play: Players, ranks: int) -> None:
    reports = play("using", ranks)["results"]
    main = reports[0]
    assert main["values"] == main["attributes"] == [9, 8, [7], "a closure"]
    for fact in ("in_order", "submitted"):
        assert main[fact], fact
    for facts in ("statuses", "kinds", "names"):
        assert all(main[facts]), facts
    assert all(report["workers"] for report in reports), "workers have results"


@pytest.mark.parametrize("ranks", RANKS)
def test_a_pool_that_was_left(play: Players, ranks: int) -> None:
    for report in play("using", ranks)["results"]:
        assert report["closing"]
        assert (report["jobs"], report["id"]) == (0, None)
        assert report["after"]["text"] == (
            "This pool's `with` block has ended; open a new pool for more jobs."
        )
        assert "bsb.exceptions.JobPoolContextError" in report["after"]["kinds"]


@pytest.mark.parametrize("ranks", RANKS)
def test_queueing_on_workers_is_harmless(play: Players, ranks: int) -> None:
    main, *workers = play("using", ranks)["everywhere"]
    assert main == {"status": "SUCCESS", "result": 25}
    assert {report["status"] for report in workers} <= {"PENDING"}


@pytest.mark.parametrize("ranks", RANKS)
def test_a_pool_that_is_not_executed(play: Players, ranks: int) -> None:
    main, *_ = play("using", ranks)["never_executed"]
    assert main in ("PENDING", "QUEUED")


@pytest.mark.parametrize("ranks", RANKS)
def test_a_lambda_sees_the_globals_of_its_rank(play: Players, ranks: int) -> None:
    rank, is_the_network = play("using", ranks).main("globals_of_a_lambda")
    assert is_the_network
    assert (rank > 0) == (ranks > 0)


@pytest.mark.parametrize("ranks", RANKS)
def test_strategies_queued_by_hand(play: Players, ranks: int) -> None:
    reports = play("using", ranks)["strategies"]
    assert reports[0]["found"]
    assert reports[0]["shown"] == [
        "{root}.placement.soma",
        "{root}.connectivity.a_soma_to_moon",
        5 - 1,  # one of the chunks is on both sides
    ]
    assert all(report["cells"] == [60, 60] for report in reports)
    names = [name for name, _ in work(reports)]
    assert [names.count(name) for name in ("soma", "moon", "a_soma_to_moon")] == [4, 4, 1]
    entries = [entry for report in reports for entry in report["journal"]]
    ends = {name: [e for e in entries if e["name"] == name] for name in names}
    for before, after in (("soma", "moon"), ("moon", "a_soma_to_moon")):
        ended = max(entry["end"] for entry in ends[before])
        assert all(ended <= entry["begin"] for entry in ends[after])


@pytest.mark.parametrize("ranks", RANKS)
def test_ranks_write_to_one_file_behind_the_lock(play: Players, ranks: int) -> None:
    reports = play("using", ranks)["locked"]
    assert reports[0]["grown"] == [1] * 25
    assert all(report["cells"] == 25 for report in reports)
    assert sum(report["alone"] for report in reports) == 1


@pytest.mark.parametrize("ranks", RANKS)
def test_pools_in_threads(play: Players, ranks: int) -> None:
    """Jobs run in the thread that executes the pool, as with bsb's `timeout`."""
    reports = play("using", ranks)["timed"]
    assert not any(report["main"] for report in reports)
    mine = {report["mine"] for report in reports}
    assert set(reports[0]["threads"]) <= mine
    ran = [entry for report in reports for entry in report["journal"]]
    assert {entry["name"] for entry in ran} >= {"grain", "shadow"}
    assert not any(entry["in_main_thread"] for entry in ran)


@pytest.mark.parametrize("ranks", RANKS)
def test_what_bsb_offers_to_test_itself(play: Players, ranks: int) -> None:
    for report in play("using", ranks)["their_tests"]:
        assert report["ok"], play("using", ranks).ended.story
        assert report["ran"] - report["skipped"] >= 6


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("using", ranks).ended.ok()


@pytest.mark.parametrize("ranks", RANKS)
def test_a_pool_opened_in_a_pool(play: Players, ranks: int) -> None:
    reports = play("using", ranks)["in_a_pool"]
    assert all(report["different"] for report in reports)
    assert reports[0]["results"] == ["inner", "outer"]


@pytest.mark.parametrize("ranks", RANKS)
def test_a_pool_opened_in_a_job(play: Players, ranks: int) -> None:
    results = play("using", ranks).main("in_a_job")
    assert results == [[number, -number] for number in range(4)]
