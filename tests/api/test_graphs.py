"""Random graphs of jobs, compared with a model of a few lines of plain Python."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbpool import WorkflowError, create_job_pool

from .support import FAILS, SUCCEEDS, RecordingListener

CANCELLED = "pending > cancelled"


@dataclass(frozen=True)
class Plan:
    """A planned job: the numbers of the older jobs that it depends on, and its outcome."""

    deps: tuple[int, ...]
    outcome: str
    shared: bool
    late: bool


@st.composite
def plans(draw):
    """Draw jobs in the order of queueing; some share a list of dependencies with the previous."""
    drawn = []
    for n in range(draw(st.integers(0, 24))):
        deps = draw(st.lists(st.integers(0, n - 1), max_size=8)) if n else []
        shared = bool(drawn) and draw(st.integers(0, 3)) == 0
        outcome = draw(st.sampled_from(["good"] * 6 + ["bad", "cancelled"]))
        late = draw(st.integers(0, 5)) == 0
        drawn.append(Plan(drawn[-1].deps if shared else tuple(deps), outcome, shared, late))
    return drawn


def oracle(plan):
    """Return for each job its value, or None, and its status."""
    ended = []
    for n, job in enumerate(plan):
        if job.outcome == "cancelled" or any(ended[dep][1] != "success" for dep in job.deps):
            ended.append((None, "cancelled"))
        elif job.outcome == "bad":
            ended.append((None, "failed"))
        else:
            ended.append((n + sum(ended[dep][0] for dep in job.deps), "success"))
    return ended


class Jobs:
    """Jobs whose results a job reads itself: the pool does not look into such an object."""

    def __init__(self, jobs):
        self.jobs = jobs


def work(owner, n, deps, outcome):
    if outcome == "bad":
        raise ValueError(n)
    return n + sum(dep.result for dep in deps.jobs)


def queue(pool, plan):
    """Queue the jobs; the first job queues those that are marked late."""
    jobs = []

    def one(n):
        job = plan[n]
        deps = [jobs[dep] for dep in job.deps]
        if job.shared and jobs:
            deps = jobs[-1]._deps
        read = Jobs([jobs[dep] for dep in job.deps])
        jobs.append(pool.queue(work, (n, read, job.outcome), deps=deps))
        if job.outcome == "cancelled" and jobs[-1].error is None:
            jobs[-1].cancel()

    first_late = next((n for n, job in enumerate(plan) if job.late), len(plan))
    for n in range(first_late):
        one(n)
    if first_late < len(plan):
        pool.submit(lambda owner: [one(n) for n in range(first_late, len(plan))])
    return jobs


def run(pool, plan):
    expected_failures = sum(status == "failed" for _, status in oracle(plan))
    jobs = queue(pool, plan)
    if expected_failures:
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        assert len(raised.value.exceptions) == expected_failures
    else:
        pool.execute()
    return jobs


@given(plans())
@settings(max_examples=150, deadline=None)
def test_values_and_statuses(plan):
    with create_job_pool(quiet=True) as pool:
        jobs = run(pool, plan)
        found = [
            (job.result if job.status.value == "success" else None, job.status.value)
            for job in jobs
        ]
    assert found == oracle(plan)


@given(plans())
@settings(max_examples=80, deadline=None)
def test_records_and_callbacks(plan):
    with create_job_pool(quiet=True) as pool:
        recorder, ended = RecordingListener(), []
        pool.add_listener(recorder)
        queue = pool.queue

        def tracked(*args, **kwargs):
            job = queue(*args, **kwargs)
            job.on_completion(ended.append)
            return job

        pool.queue = tracked
        jobs = run(pool, plan)
        assert recorder.added == pool.jobs
        assert sorted(map(id, ended)) == sorted(map(id, pool.jobs))
        steps = {"success": [SUCCEEDS], "failed": [FAILS]}
        steps["cancelled"] = [[CANCELLED], ["pending > queued", "queued > cancelled"]]
        for job, (_, status) in zip(jobs, oracle(plan), strict=True):
            assert recorder.steps_of(job) in steps[status]


@given(plans())
@settings(max_examples=80, deadline=None)
def test_failing_fast_stops_at_the_first_failure(plan):
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        jobs = queue(pool, plan)
        expected = oracle(plan)
        failures = [n for n, (_, status) in enumerate(expected) if status == "failed"]
        if not failures:
            pool.execute()
            assert [job.status.value for job in jobs] == [status for _, status in expected]
            return
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        assert len(raised.value.exceptions) == 1
        first = failures[0]
        for n, job in enumerate(jobs):
            wanted = expected[n][1] if n <= first else "cancelled"
            assert job.status.value == wanted
