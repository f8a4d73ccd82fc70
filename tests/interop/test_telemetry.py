"""Jobs are traced on their own rank: spans of different ranks are not mixed."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Players
from .test_network import work

pytestmark = pytest.mark.interop

RANKS = [0, 3]
STEPS = sorted(f"step {number}" for number in range(12) for _ in range(number % 3 + 1))


def steps(reports: list[Any]) -> list[Any]:
    """Return the spans that the jobs of a scene opened, on all ranks."""
    spans = [span for report in reports for span in report["spans"]]
    return [span for span in spans if span["name"].startswith("step")]


@pytest.mark.parametrize("ranks", RANKS)
def test_each_job_traces_alone(play: Players, ranks: int) -> None:
    reports = play("telemetry", ranks)["without_a_root"]
    assert sorted(span["name"] for span in steps(reports)) == STEPS
    assert not any(span["child"] for span in steps(reports))
    assert len({span["trace"] for span in steps(reports)}) == len(STEPS)
    if ranks:
        assert reports[0]["communicators"] == [[1]] * 12, "not in local_tracing"
        assert not steps(reports[:1])


@pytest.mark.parametrize("ranks", RANKS)
def test_jobs_are_below_the_span_that_their_pool_is_in(play: Players, ranks: int) -> None:
    reports = play("telemetry", ranks)["below_a_root"]
    assert sorted(span["name"] for span in steps(reports)) == STEPS
    assert all(span["child"] for span in steps(reports))
    roots = {report["root"] for report in reports}
    assert {span["trace"] for span in steps(reports)} == roots
    assert len(roots) == 1


@pytest.mark.parametrize("ranks", RANKS)
def test_a_network_is_traced(play: Players, ranks: int) -> None:
    reports = play("telemetry", ranks)["compiled_below_a_root"]
    theirs = play("build", pool="bsb")["own"]
    assert work(reports) == work(theirs)
    spans = [span for report in reports for span in report["spans"]]
    names = [span["name"] for span in spans]
    ran = [name for name, _ in work(theirs)]
    assert names.count("PlacedAtRandom.place") == ran.count("soma") + ran.count("grain")
    assert names.count("ConnectedAll.connect") == ran.count("a_soma_to_moon")
    assert {"hdf5.file.open", "mpilock.write"} < set(names)
    traces = {span["trace"] for span in spans if span["name"] == "PlacedAtRandom.place"}
    assert len(traces) == 1


@pytest.mark.parametrize("ranks", RANKS)
def test_the_ranks_still_trace_together(play: Players, ranks: int) -> None:
    assert play("telemetry", ranks)["together"] == [1] * max(ranks, 1)


@pytest.mark.parametrize("ranks", RANKS)
def test_spans_without_a_root(play: Players, ranks: int) -> None:
    reports = play("telemetry", ranks)["compiled_without_a_root"]
    names = [span["name"] for report in reports for span in report["spans"]]
    assert names.count("ConnectedAll.connect") == 4


@pytest.mark.parametrize("ranks", RANKS)
def test_ends_well(play: Players, ranks: int) -> None:
    play("telemetry", ranks).ended.ok()
