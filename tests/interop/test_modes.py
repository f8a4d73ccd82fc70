"""All ways to compile a network give the same result as with bsb's own pool."""

from __future__ import annotations

import pytest

from .conftest import Players
from .test_network import work

pytestmark = pytest.mark.interop

RANKS = [0, 3]
SCENES = ["first", "clear", "redo", "append", "only", "skip", "in_steps", "from_file"]


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_runs_the_same_work(play: Players, scene: str, ranks: int) -> None:
    assert work(play("modes", ranks)[scene]) == work(play("modes", pool="bsb")[scene])


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_leaves_the_same_network(play: Players, scene: str, ranks: int) -> None:
    ours = play("modes", ranks).main(scene)["digests"]
    assert ours == play("modes", pool="bsb").main(scene)["digests"]


@pytest.mark.parametrize("ranks", RANKS)
def test_clearing_builds_the_first_network_again(play: Players, ranks: int) -> None:
    plays = play("modes", ranks)
    assert plays.main("clear")["digests"] == plays.main("first")["digests"]


@pytest.mark.parametrize("ranks", RANKS)
def test_an_existing_network_is_not_overwritten(play: Players, ranks: int) -> None:
    for error in play("modes", ranks)["without_a_word"]:
        assert error["type"] == "FileExistsError"


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_stays_in_the_cache(play: Players, scene: str, ranks: int) -> None:
    assert [report["kept"] for report in play("modes", ranks)[scene]] == [0] * max(ranks, 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("modes", ranks).ended.ok()
