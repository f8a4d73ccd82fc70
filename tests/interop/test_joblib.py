"""joblib and scikit-learn run on the pool."""

from __future__ import annotations

from typing import Any

import pytest

from .plays import WAYS, scenes_of

pytestmark = pytest.mark.interop

SQUARES = [n * n for n in range(5)]


@pytest.fixture(params=WAYS, ids=[f"{way}-{ranks}" for way, ranks in WAYS], scope="module")
def seen(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**scenes_of("batches", *request.param), "alone": request.param[1] == 1}


def test_lists(seen: dict[str, Any]) -> None:
    assert seen["lists"] == {
        "config": True,
        "named": True,
        "batches": True,
        "reused": True,
        "arrays": [True] * 4,
        "writable": True,
        "lambda": [1, 2, 3],
        "none": [],
    }


@pytest.mark.parametrize("scene", ["backends", "own"])
def test_ways_of_naming_it(seen: dict[str, Any], scene: str) -> None:
    assert seen[scene] == SQUARES[: len(seen[scene])]
    assert len(seen[scene]) >= 4


def test_an_executor_that_was_shut_down(seen: dict[str, Any]) -> None:
    assert len(seen["shut"]) == 4
    for kind, text in seen["shut"]:
        assert kind == "RuntimeError" and "shut down" in text


def test_generators(seen: dict[str, Any]) -> None:
    both, unordered = seen["generators"]
    assert both == [[n, n] for n in SQUARES]
    assert sorted(unordered) == list(range(20))
    assert (unordered[0] == 0) == seen["alone"]


def test_a_parallel_that_keeps_its_backend(seen: dict[str, Any]) -> None:
    assert seen["managed"] == [SQUARES[:2], SQUARES[:3]]


def test_an_abandoned_generator(seen: dict[str, Any]) -> None:
    assert seen["abandoned"] == [9, SQUARES[:3]]


def test_errors(seen: dict[str, Any]) -> None:
    reported, unpicklable, after = seen["errors"]
    assert reported == ["LookupError", "three"]
    assert unpicklable == "TypeError"
    assert after == SQUARES[:3]


def test_timeouts(seen: dict[str, Any]) -> None:
    """joblib has no callbacks if calls run one after the other."""
    reported, after = seen["timeouts"]
    assert reported == (None if seen["alone"] else "TimeoutError")
    assert after == [0, 1, 2]


def test_numbers_of_jobs(seen: dict[str, Any]) -> None:
    jobs = seen["jobs"]
    most = 1 if seen["alone"] else 2
    effective = {"-1": most, "1": 1, "2": most, "9": most, "-2": 1, "-9": 1}
    assert jobs["effective"] == effective
    assert jobs["zero"] == ["ValueError", "n_jobs == 0 in Parallel has no meaning"]
    assert jobs["alone"]
    assert jobs["here"] == seen["alone"]
    assert jobs["at once"] == [1, most, most]


def test_parallel_inside_a_call(seen: dict[str, Any]) -> None:
    outer = "BsbPoolBackend" if seen["alone"] else "NestedBackend"
    assert seen["nested"] == [[outer, SQUARES[:4]]] * 3


def test_libraries_get_their_share_of_the_cores(seen: dict[str, Any]) -> None:
    threads = seen["threads"]
    if seen["alone"]:  # joblib calls in the process itself, which keeps all that it has
        assert [reported for reported, _ in threads["three"]] == [""] * 2
        assert threads["inner"] == [1] * 3
        return
    assert threads["three"] == [["3", 3]] * 2
    for reported, used in threads["share"]:
        assert used <= int(reported)
    assert len({reported for reported, _ in threads["share"]}) == 1
    assert max(threads["inner"]) <= int(threads["share"][0][0])


def test_scikit_learn_finds_the_same(seen: dict[str, Any]) -> None:
    assert seen["search"] is True


def test_fewer_jobs_than_workers() -> None:
    seen = scenes_of("batches", "with", 4)
    assert seen["jobs"]["effective"] == {"-1": 3, "1": 1, "2": 2, "9": 3, "-2": 2, "-9": 1}
    assert seen["jobs"]["at once"] == [1, 2, 3]


@pytest.fixture(params=[1, 3], scope="module")
def leased(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**scenes_of("leased", "run", request.param), "alone": request.param == 1}


def test_without_an_executor(leased: dict[str, Any]) -> None:
    """The executor is leased while it is needed, under bsbpool.run and in a single process."""
    assert leased["both"] == [SQUARES[:4]] * 2
    assert leased["afterwards"] == SQUARES[:4]


def test_no_lease_remains(leased: dict[str, Any]) -> None:
    """After a `Parallel`, failed or not, the program may open its own executor."""
    kinds, after = leased["failures"]
    one_by_one = [["TypeError", SQUARES[:4]], [None, SQUARES[:4]]]  # joblib looks no further
    both = [["TypeError", SQUARES[:4]], ["ValueError", SQUARES[:4]]]
    assert kinds == (one_by_one if leased["alone"] else both)
    assert after == SQUARES[:4]


def test_an_abandoned_call_delays_nothing(leased: dict[str, Any]) -> None:
    """An executor of the program does: it needs all workers."""
    *squares, before, after = leased["given_up"]
    assert squares == [SQUARES[:4]] * 3
    assert not before
    assert after or leased["alone"]  # where joblib gives up no call


def test_threads_share_the_lease(leased: dict[str, Any]) -> None:
    assert leased["threads"] == 9
