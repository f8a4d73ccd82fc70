"""The backend of joblib of the interface of ipyparallel, on three engines."""

from __future__ import annotations

from typing import Any

import pytest

from .plays import scenes_of

pytestmark = pytest.mark.interop


def scene(name: str) -> Any:
    return scenes_of("engine_joblib", "run", 4)[name]


def test_functions_of_the_script_have_their_globals() -> None:
    assert scene("names") == [[10.0, 11.0, 12.0, 13.0]] * 3


def test_the_view_is_that_of_the_program() -> None:
    assert scene("view_of_the_backend") is True


def test_calls_run_on_the_engines_of_the_view() -> None:
    all_engines, limited, two = scene("engines")
    assert all_engines == 3 and 2 <= limited <= 3 and two == 2


def test_ways_to_choose_the_backend() -> None:
    assert scene("ways_to_choose") == [[0, 1, 4, 9]] * 3


def test_calls_have_copies_of_arrays() -> None:
    assert scene("arrays") == [[200_006.0] * 3, [1.0] * 3]


def test_nested_calls() -> None:
    assert scene("nested_calls") == [[], [10.0], [10.0, 11.0]]


def test_errors_have_the_original_as_cause() -> None:
    name, cause, _ = scene("errors")
    assert (name, cause) == ("ValueError", "ValueError('three')")


def test_a_time_limit_abandons_calls() -> None:
    assert scene("time_limit") == [True, 0]
