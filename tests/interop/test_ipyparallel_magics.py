"""The magics of the interface of ipyparallel, in IPython on rank 0 of four."""

from __future__ import annotations

from typing import Any

import pytest

from .plays import scenes_of

pytestmark = pytest.mark.interop

ENGINES = range(3)
NOT_FOUND = "UsageError: Line magic function `%px{}` not found."
DIVISION = "ZeroDivisionError: division by zero"


def scene(name: str) -> Any:
    return scenes_of("engine_magics", "run", 4)[name]


def values(value: object, engines: Any = ENGINES) -> list[str]:
    return [f"Out[{id}]: {value}" for id in engines]


def test_they_are_loaded_or_offered_by_a_client() -> None:
    assert scene("before_a_client") == [NOT_FOUND.format("")]
    assert scene("loaded") == scene("a_client_offers_them") == values(42)


def test_lines_and_cells() -> None:
    line, cell = scene("lines_and_cells")
    assert sorted(line) == [f"[stdout:{id}] 5" for id in ENGINES]
    assert sorted(cell[:3]) == [f"[stdout:{id}] b 6" for id in ENGINES]
    assert cell[3:] == values(6)
    assert scene("braces_are_not_expanded") == values("'engine'")


def test_targets() -> None:
    chosen, told, refused = scene("options")
    engines = [[1], [0, 2], [0, 2], [0, 1, 2], [2]]
    assert chosen == [values(5, each) for each in engines]
    assert told == ["Parallel execution on engine(s): 0", *values(5, [0])]
    assert refused[0].startswith("UsageError: TARGETS must be 'all', an engine (1)")


def test_a_result_is_kept() -> None:
    assert scene("kept_result") == ["Out[0]: 'a\\n'"]


def test_without_blocking() -> None:
    submitted, shown = scene("not_blocking")
    assert submitted[0].startswith("Out[0]: <AsyncResult")
    assert shown == [*(f"[stdout:{id}] late" for id in ENGINES), *values(5)]


def test_local() -> None:
    everywhere, here = scene("here_as_well")
    assert everywhere == ["Out[0]: 3", *values(3)] and here == ["Out[0]: 3"]


def test_errors_are_shown_once() -> None:
    streamed, raised, after = scene("errors")
    assert streamed[0] == "3 errors" and streamed.count(DIVISION) == 3
    assert {line for line in streamed if line.startswith("[")} == {
        f"[{id}:execute]: Traceback (most recent call last):" for id in ENGINES
    }
    assert raised.count(DIVISION) == 1
    assert not any("interactiveshell.py" in line for line in [*streamed, *raised])
    assert after == values(5)


def test_output_arrives_while_code_runs() -> None:
    assert scene("output_arrives_early") is True


def test_autopx() -> None:
    (enabled, value, error, config, one), disabled, here, _ = scene("automatic")
    assert (enabled, disabled, config) == (["%autopx enabled"], ["%autopx disabled"], [])
    assert value == values(9) and one == values(9, [0])
    assert error.count(DIVISION) == 3
    assert here[-1] == "NameError: name 'c' is not defined"


def test_defaults() -> None:
    submitted, shown, silent, after = scene("configured")
    assert submitted[0] == "Async parallel execution on engine(s): [1, 2]"
    assert submitted[1].startswith("Out[0]: <AsyncResult")
    assert shown == values(5, [1, 2])
    assert silent == [] and after == values(5)


def test_suffixes() -> None:
    first, rest, all_engines, again = scene("with_suffix")
    assert first == again == values(5, [0])
    assert rest[0].startswith("Out[0]: <AsyncResult")  # the view of the program does not block
    assert all_engines == values(5)


def test_an_interrupt_cancels_the_code() -> None:
    ended_early, told, after = scene("interrupted")
    assert ended_early and told == ["3 errors"] and after == values(5)


def test_mistakes() -> None:
    option, suffix = scene("misused")
    assert option == ["UsageError: unrecognized arguments: --nothing"]
    assert suffix == [NOT_FOUND.format("9")]
