"""Two groups of ranks, each with a separate network: ranks 0 and 1, and ranks 2 and 3."""

from __future__ import annotations

import pytest

from .conftest import Players
from .test_network import work

pytestmark = pytest.mark.interop

RANKS = 4


def test_both_build_the_network(play: Players) -> None:
    theirs = play("build", pool="bsb")["own"]
    reports = play("groups", RANKS)["both_compile"]
    for group in (0, 1):
        ours = [report for report in reports if report["group"] == group]
        assert ours[0]["digests"] == theirs[0]["digests"]
        assert work(ours) == work(theirs)


def test_a_failure_stays_in_its_group(play: Players) -> None:
    errors = [report["error"] for report in play("groups", RANKS)["one_fails"]]
    assert errors == ["WorkflowError"] * 2 + [None] * 2


def test_together_again(play: Players) -> None:
    theirs = play("build", pool="bsb")["own"]
    ours = play("groups", RANKS)["all_together"]
    assert ours[0]["digests"] == theirs[0]["digests"]
    assert work(ours) == work(theirs)


def test_ends_well(play: Players) -> None:
    play("groups", RANKS).ended.ok()
