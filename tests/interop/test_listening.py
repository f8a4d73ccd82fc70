"""Listeners of a network receive every event once and in order; the default listener works."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from .conftest import Play, Players

pytestmark = pytest.mark.interop

RANKS = [0, 3]
PHASES = ["pipelines", "placement", "after_placement", "connectivity", "after_connectivity"]


def printed(play: Play, scene: str) -> str:
    """Return the output of a scene."""
    found = re.search(rf"<<{scene}>>\n(.*)<</{scene}>>", play.ended.output, re.DOTALL)
    assert found, play.ended.story
    return found[1]


@pytest.mark.parametrize("ranks", RANKS)
def test_each_phase_is_a_pool_with_all_its_statuses(play: Players, ranks: int) -> None:
    events = play("listening", ranks).main("everything")["events"]
    changes = [
        (event["phase"], event["old"], event["status"])
        for event in events
        if event["reason"] == "POOL_STATUS_CHANGE"
    ]
    statuses = [None, "SCHEDULING", "EXECUTING", "CLOSING"]
    steps = list(pairwise(statuses))
    assert changes == [(phase, *step) for phase in PHASES for step in steps]


@pytest.mark.parametrize("ranks", RANKS)
def test_each_job_is_added_and_goes_through_its_statuses(play: Players, ranks: int) -> None:
    plays = play("listening", ranks)
    events: dict[Any, list[Any]] = defaultdict(list)
    for event in plays.main("everything")["events"]:
        if event["reason"].startswith("JOB"):
            events[event["phase"], event["job"]].append(event)
    assert len(events) == len(play("build", pool="bsb").main("own")["added"])
    for added, *updates in events.values():
        assert added["reason"] == "JOB_ADDED"
        path = [updates[0]["old"], *(update["status"] for update in updates)]
        assert path[-3:] == ["QUEUED", "RUNNING", "SUCCESS"]
        assert path[:-3] in ([], ["PENDING"])
        assert [update["old"] for update in updates] == path[:-1]


@pytest.mark.parametrize("ranks", RANKS)
def test_names_are_those_of_the_nodes(play: Players, ranks: int) -> None:
    events = play("listening", ranks).main("everything")["events"]
    names = {event["name"] for event in events if event["name"]}
    assert {"{root}.placement.soma", "{root}.connectivity.a_soma_to_moon"} < names
    assert {"{root}.morphologies.granule", "{root}.after_connectivity.fused"} < names


@pytest.mark.parametrize("ranks", RANKS)
def test_all_listeners_hear_the_same_in_the_main_thread(play: Players, ranks: int) -> None:
    for report in play("listening", ranks)["everything"]:
        assert report["same"]
        assert report["removed"] == 0
        assert all(event["in_main_thread"] for event in report["events"])


@pytest.mark.parametrize("ranks", RANKS)
def test_a_listener_is_entered_and_left_with_each_pool(play: Players, ranks: int) -> None:
    for report in play("listening", ranks)["everything"]:
        assert report["visits"] == ["enter", "exit None"] * len(PHASES)


def test_workers_hear_nothing_of_jobs(play: Players) -> None:
    for report in play("listening", 3)["everything"][1:]:
        assert {event["reason"] for event in report["events"]} == {"POOL_STATUS_CHANGE"}


@pytest.mark.parametrize("ranks", RANKS)
def test_the_shortest_pace_counts(play: Players, ranks: int) -> None:
    """Three in 0.7 s at 0.2 s each; a busy machine may lose one."""
    report = play("listening", ranks).main("pace")
    assert report["max_wait"] == [0.2]
    assert len(report["pings"]) in (2, 3, 4)


@pytest.mark.parametrize("ranks", RANKS)
def test_the_default_listener_prints_each_phase(play: Players, ranks: int) -> None:
    lines = printed(play("listening", ranks), "default").splitlines()
    pattern = r"bsbpool: (\w+) \(\d of 5\): (\d+)/\2 jobs succeeded in .*"
    found = [match[1] for line in lines if (match := re.fullmatch(pattern, line))]
    assert found == ["pipelines", "placement", "after_placement"]  # no connections in this network


@pytest.mark.parametrize("ranks", RANKS)
def test_quiet(play: Players, ranks: int) -> None:
    assert "jobs succeeded" not in printed(play("listening", ranks), "quiet")


@pytest.mark.parametrize("ranks", RANKS)
def test_debugging_the_pool_does_no_harm(play: Players, ranks: int) -> None:
    assert play("listening", ranks)["debugging"] == [60] * max(ranks, 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_a_terminal_shows_progress(play: Players, ranks: int) -> None:
    assert "placement (2 of 5): " in play("listening", ranks).main("in_a_terminal")


def test_a_terminal_is_left_alone_by_the_workers(play: Players) -> None:
    for shown in play("listening", 3)["in_a_terminal"][1:]:
        assert "\x1b" not in shown, "a worker draws"
        assert "placement" not in shown


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("listening", ranks).ended.ok()
