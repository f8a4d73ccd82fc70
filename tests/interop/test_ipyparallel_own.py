"""The tests of the package ipyparallel pass on bsbpool's interface of the same names."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from .ipyparallel_own import make_folder
from .ipyparallel_own.not_meant import NOT_MEANT
from .launch import Ended, python

pytestmark = pytest.mark.interop

ENGINES = 4
SECONDS = 170.0
"""The time limit, three times what the tests take."""


class Report:
    """The outcomes of the tests, by their ids, and how the program ended."""

    def __init__(self, ended: Ended, outcomes: dict[str, str]) -> None:
        self.ended, self.outcomes = ended, outcomes


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("ipyparallel") / "tests"
    make_folder(folder)
    ended = python(
        *("-m", "bsbpool.run", "-m", "pytest", "-p", "plugin", "-p", "no:cacheprovider"),
        *("--rootdir=.", "--color=no", "-v", "--timeout=30", "ipyparallel/tests"),
        ranks=1 + ENGINES,
        cwd=folder,
        seconds=SECONDS,
        IPYTHONDIR=str(folder / "ipython"),
        OWN_TESTS_REPORT=str(folder / "report.json"),
    )
    written = folder / "report.json"
    return Report(ended, json.loads(written.read_text()) if written.exists() else {})


def test_every_test_that_is_meant_passes(report: Report) -> None:
    failed = {
        id: outcome
        for id, outcome in report.outcomes.items()
        if id not in NOT_MEANT and outcome != "passed"
    }
    assert not failed and report.outcomes, f"{failed}\n{report.ended.story}"
    report.ended.ok()
    counts = Counter(report.outcomes.values())
    print(f"{counts['passed']} passed, {counts['not run']} are not meant")


def test_the_list_has_no_stale_entries(report: Report) -> None:
    assert NOT_MEANT.keys() <= report.outcomes.keys()
    assert all(report.outcomes[id] == "not run" for id in NOT_MEANT)
