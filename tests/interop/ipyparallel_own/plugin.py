"""A plugin for pytest that takes the place of the conftest.py of ipyparallel's tests.

Tests that are not meant are not run. The outcome of each other test is written to the file that the
variable OWN_TESTS_REPORT names, as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from not_meant import NOT_MEANT

LAST = "test_client.py::TestClient::test_shutdown"
"""It retires an engine, which the other tests use."""

outcomes: dict[str, str] = {}


def id_of(nodeid: str) -> str:
    """Return the module, the class and the name of a test, without the folder."""
    return nodeid.rpartition("/")[2]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: id_of(item.nodeid) == LAST)
    ignored = [item for item in items if id_of(item.nodeid) in NOT_MEANT]
    outcomes.update((id_of(item.nodeid), "not run") for item in items)
    if not os.environ.get("OWN_TESTS_ALL"):
        items[:] = [item for item in items if item not in ignored]
        config.hook.pytest_deselected(items=ignored)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome; that of a test with an error in its setup or teardown is this error."""
    id = id_of(report.nodeid)
    if report.outcome != "passed" or outcomes[id] == "not run":
        outcomes[id] = report.outcome


def pytest_sessionfinish() -> None:
    if path := os.environ.get("OWN_TESTS_REPORT"):
        Path(path).write_text(json.dumps(outcomes))


@pytest.fixture(scope="module")
def ipython(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The shell of the user."""
    from IPython.terminal.interactiveshell import TerminalInteractiveShell
    from traitlets.config import Config

    config = Config()
    config.TerminalInteractiveShell.colors = "nocolor"
    config.TerminalInteractiveShell.simple_prompt = True
    config.HistoryManager.enabled = False
    yield TerminalInteractiveShell.instance(config=config)
    TerminalInteractiveShell.clear_instance()


@pytest.fixture
def ipython_interactive(ipython: Any) -> Iterator[Any]:
    """The shell, with its functions as builtins."""
    with ipython.builtin_trap:
        yield ipython
