"""scinexus maps its functions and runs its apps on the pool."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .plays import WAYS, scenes_of

pytestmark = pytest.mark.interop

SQUARES = [n * n for n in range(50)]


@pytest.fixture(params=WAYS, ids=[f"{way}-{ranks}" for way, ranks in WAYS], scope="module")
def seen(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**scenes_of("apps", *request.param), "ranks": request.param[1]}


def test_maps(seen: dict[str, Any]) -> None:
    assert seen["maps"] == {
        "imap": SQUARES,
        "chunks": SQUARES,
        "numpy": SQUARES[:5],
        "none": [],
        "as_completed": SQUARES,
        "map": [{"n": 1, "scaled": 2}, {"n": 2, "scaled": 4}],
        "lambda": [1, 2, 3],
        "backend": [[0, 1, 4]],
    }


def test_apps_fill_a_data_store(seen: dict[str, Any]) -> None:
    same, (done, not_completed) = seen["stores"]
    assert same, "not what a serial run stores"
    found = {name: json.loads(text) for name, text in done}
    assert len(found) == 11
    assert found["m9.json"]["scaled"] == 27
    assert found["m9.json"]["total"] == sum(SQUARES[:9])
    assert not_completed == ["m7.json"]


def test_streams(seen: dict[str, Any]) -> None:
    """An endless map, two calls at a time; the first result comes before the last item is done."""
    assert seen["streams"] == [SQUARES[:5], [[n, n] for n in SQUARES[:5]], 1]


def test_order(seen: dict[str, Any]) -> None:
    first, ordered = seen["order"]
    assert ordered == list(range(20))
    assert first == 0 if seen["ranks"] == 1 else first != 0


def test_errors_come_in_their_place(seen: dict[str, Any]) -> None:
    assert seen["errors"] == [[0, 1, 2], ["LookupError", "three"]]


def test_who_is_who(seen: dict[str, Any]) -> None:
    alone = seen["ranks"] == 1
    assert seen["asks"] == {
        "size": 1 if alone else 2,
        "rank": 0,
        "master": True,
        "here": alone,
        "ranks": [0] if alone else [1, 2],
    }


def test_refused_arguments_and_warnings_begin_as_scinexus_words_them(seen: dict[str, Any]) -> None:
    """Its own tests, and those of its users, match these words."""
    reported, results, quiet, warned = seen["checks"]
    assert results == [4, 9, 16, 25]
    assert len(reported) == 13
    for label, errors in reported.items():
        name, _, value = label.partition("=")
        if name == "if_serial":
            expected = ["ValueError", "if_serial: invalid choice 'no such'"]
        elif value in ("0", "-1"):
            expected = ["ValueError", f"{name} ({value}) must be greater than 0"]
        else:
            expected = ["TypeError", f"{name} must be an int or None, got {value}"]
        assert [[kind, text[: len(expected[1])]] for kind, text in errors] == [expected] * 2
    assert quiet == 0
    size = 1 if seen["ranks"] == 1 else 2
    assert [kind for kind, _ in warned] == ["UserWarning"] * 3
    for _, text in warned:  # of `imap`, `map` and `as_completed`
        assert text.startswith(f"max_workers ({size + 1}) is not the {size} worker")
        assert text.endswith("so this request is not used.")


def test_serial(seen: dict[str, Any]) -> None:
    error, results, warned = seen["serial"]
    assert results == [4, 9]
    if seen["ranks"] == 1:
        kinds, texts = zip(error, *warned, strict=True)
        assert kinds == ("RuntimeError", "UserWarning")
        assert all(text.startswith("Execution in serial: ") for text in texts)
    else:
        assert (error, warned) == (None, [])


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("scene", ["root", "another"])
def test_workers_of_any_root_are_distinguished(ranks: int, scene: str) -> None:
    here, there = scenes_of("roots", "with", ranks)[scene]
    if ranks == 1:  # a thread of the process that submits
        assert here == [0, 0, True, 1] and there == [here] * 40
        return
    assert here == [1, 1, True, 2]
    workers = [[0, 0, False, 2], [2, 2, False, 2]]
    assert all(reported in workers for reported in there)


@pytest.mark.parametrize("ranks", [1, 3])
def test_size_is_that_of_the_executor(ranks: int) -> None:
    n_workers, here, there, error = scenes_of("roots", "with", ranks)["workers"]
    assert here == [0, 0, True, n_workers]
    if n_workers > 1:  # spawned ones have a world of their own
        assert all(reported in ([1, False, 2], [2, False, 2]) for _, *reported in there)
    assert error == (None if n_workers > 1 else "RuntimeError")
    assert n_workers == 2 or ranks == 1
