"""A failing network fails on all ranks, with the right error, and does not hang."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Players
from .test_network import work

pytestmark = pytest.mark.interop

RANKS = [0, 3]
SCENES = {
    "in_placement": "misfortune in soma",
    "in_placement_slowly": "misfortune in soma",
    "in_connectivity": "misfortune in a_soma_to_moon",
    "in_scheduling": "misfortune in queue",
    "in_a_pipeline": "misfortune in pipeline",
    "after_placement": "misfortune in shadow",
    "after_connectivity": "misfortune in fused",
    "while_others_work": "misfortune in soma",
    "without_pickle": "unsendable",
    "by_leaving": "leaving seed",
}


def became(report: Any, name: str) -> set[str]:
    """The last statuses of the jobs of a node."""
    return {status for job, status in report["statuses"] if job == name}


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_all_ranks_raise(play: Players, scene: str, ranks: int) -> None:
    main, *workers = (report["error"] for report in play("failing", ranks)[scene])
    assert main["type"] == "WorkflowError"
    assert main["text"].startswith("Your workflow encountered errors.")
    for error in workers:
        assert error["type"] == "WorkflowError"
        assert error["text"].startswith("Unhandled exceptions during parallel execution.")
        (member,) = error["members"]
        assert member["text"] == "See main node logs for details."
        assert "bsb.exceptions.JobPoolError" in member["kinds"]
        assert "bsbpool.exceptions.JobPoolError" in member["kinds"]


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_main_says_what_failed(play: Players, scene: str, ranks: int) -> None:
    error = play("failing", ranks).main(scene)["error"]
    first = error["members"][0]
    assert SCENES[scene] in first["cause"]["text"]
    if scene == "in_scheduling":
        assert first["text"] == "{root}.placement.soma failed to schedule its jobs."
        assert "bsb.exceptions.JobSchedulingError" in first["kinds"]
        return
    assert first["type"] == "JobErroredError"
    assert first["text"].endswith(" failed")
    assert first["error"] == first["cause"]
    if ranks:
        assert first["cause"]["cause"]["text"].startswith("on rank ")
        (trace,) = first["cause"]["cause"]["notes"]
        assert "in fail\n" in trace, "no traceback of the worker"


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", ["in_placement", "in_a_pipeline", "after_connectivity"])
def test_an_error_keeps_its_type(play: Players, scene: str, ranks: int) -> None:
    (member, *_) = play("failing", ranks).main(scene)["error"]["members"]
    assert member["error"]["type"] == "Misfortune"


@pytest.mark.parametrize("ranks", RANKS)
def test_failing_fast_reports_one_failure_once(play: Players, ranks: int) -> None:
    report = play("failing", ranks).main("while_others_work")
    assert len(report["error"]["members"]) == 1


@pytest.mark.parametrize("ranks", RANKS)
def test_failing_slowly_runs_all_that_can_run(play: Players, ranks: int) -> None:
    reports = play("failing", ranks)["in_placement_slowly"]
    (report, *_) = reports
    assert len(report["error"]["members"]) == 4, "one for each chunk"
    assert became(report, "soma") == {"FAILED"}
    assert became(report, "moon") == {"CANCELLED"}
    ran = {name for name, _ in work(reports)}
    assert ran == {"stretch", "stretch more", "soma", "grain", "post", "seed"}


@pytest.mark.parametrize("ranks", RANKS)
def test_a_failed_connection_cancels_its_dependents_only(play: Players, ranks: int) -> None:
    report = play("failing", ranks).main("in_connectivity")
    assert became(report, "a_soma_to_moon") == {"FAILED"}
    assert became(report, "c_soma_to_seed") == {"CANCELLED"}
    for name in ("b_moon_to_seed", "grain_to_grain", "shade_to_post"):
        assert became(report, name) == {"SUCCESS"}


@pytest.mark.parametrize("ranks", RANKS)
def test_dependents_of_what_cannot_be_scheduled(play: Players, ranks: int) -> None:
    report = play("failing", ranks).main("in_scheduling")
    soma, moon = report["error"]["members"]
    assert soma["cause"]["type"] == "Misfortune"
    assert moon["text"] == "{root}.placement.moon failed to schedule its jobs."
    assert moon["cause"]["text"].startswith("Depends on [")
    assert moon["cause"]["text"].endswith("], whom failed.")
    assert became(report, "seed") == {"SUCCESS"}


@pytest.mark.parametrize("ranks", RANKS)
def test_a_phase_that_failed_is_the_last(play: Players, ranks: int) -> None:
    names = {name for name, _ in work(play("failing", ranks)["after_placement"])}
    assert "moon" in names
    assert not names & {"a_soma_to_moon", "fused"}


@pytest.mark.parametrize("ranks", RANKS)
def test_a_listener_can_handle_a_failure(play: Players, ranks: int) -> None:
    reports = play("failing", ranks)["handled_by_a_listener"]
    assert [report["error"] for report in reports] == [None] * max(ranks, 1)
    assert became(reports[0], "grain") == {"FAILED"}
    assert became(reports[0], "shadow") == {"SUCCESS"}, "the next phase did not run"


@pytest.mark.parametrize("ranks", RANKS)
def test_an_error_in_a_listener_ends_the_run(play: Players, ranks: int) -> None:
    main, *workers = (report["error"] for report in play("failing", ranks)["in_a_listener"])
    assert main["type"] == "ValueError"
    assert main["text"] == "the listener is not amused"
    assert {error["type"] for error in workers} <= {"WorkflowError"}


@pytest.mark.parametrize("ranks", RANKS)
def test_the_ranks_go_on_together_after_a_failure(play: Players, ranks: int) -> None:
    for report in play("failing", ranks)["on_one_rank_only"]:
        assert report["all"] == ["WorkflowError"] * max(ranks, 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_network_compiles_after_all_those_failures(play: Players, ranks: int) -> None:
    ours = play("failing", ranks)["none"]
    assert ours[0]["error"] is None
    theirs = play("build", pool="bsb")["own"]
    assert ours[0]["digests"] == theirs[0]["digests"]
    assert work(ours) == work(theirs)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", [*SCENES, "handled_by_a_listener", "in_a_listener", "none"])
def test_nothing_stays_in_the_cache(play: Players, scene: str, ranks: int) -> None:
    assert [report["kept"] for report in play("failing", ranks)[scene]] == [0] * max(ranks, 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("failing", ranks).ended.ok()
