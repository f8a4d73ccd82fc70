"""Random graphs of jobs, compared with a slow and obvious oracle."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool

from .support import MAIN, Ran, pool_works, work

pytestmark = pytest.mark.mpi(min_size=2)


class Vertex(NamedTuple):
    """A job of a graph: its dependencies, its duration, and whether it fails."""

    deps: list[int]
    seconds: float
    fails: bool


def graph(seed: int, failing: float) -> list[Vertex]:
    """Draw a graph."""
    rng = random.Random(seed)
    n = rng.choice([30, 100, 400])
    width = rng.choice([1, 3, 20, n])
    fan_in = rng.choice([1, 2, 6, 12])
    slow = rng.choice([0.0, 0.0, 0.002])
    vertices = []
    for i in range(n):
        near = range(max(0, i - width), i)
        deps = rng.sample(near, min(rng.randint(0, fan_in), len(near)))
        vertices.append(Vertex(deps, slow * rng.random(), rng.random() < failing))
    return vertices


def expected(vertices: list[Vertex]) -> list[JobStatus]:
    """Return the expected outcomes of the jobs."""
    ends: list[JobStatus] = []
    for vertex in vertices:
        if any(ends[dep] is not JobStatus.SUCCESS for dep in vertex.deps):
            ends.append(JobStatus.CANCELLED)
        else:
            ends.append(JobStatus.FAILED if vertex.fails else JobStatus.SUCCESS)
    return ends


def do(owner: Any, number: int, vertex: Vertex) -> tuple[int, Ran]:
    """Execute a vertex."""
    ran = work(owner, vertex.seconds)
    if vertex.fails:
        raise ValueError(number)
    return number, ran


def execute(vertices: list[Vertex], failing: bool) -> None:
    with create_job_pool(quiet=True) as pool:
        jobs: list[Any] = []
        if MAIN:
            for number, vertex in enumerate(vertices):
                deps = [jobs[dep] for dep in vertex.deps]
                jobs.append(pool.submit(do, number, vertex, deps=deps))
        if failing:
            with pytest.raises(WorkflowError):
                pool.execute()
        else:
            pool.execute()
        if MAIN:
            check(vertices, jobs)


def check(vertices: list[Vertex], jobs: list[Any]) -> None:
    assert [job.status for job in jobs] == expected(vertices)
    ran = dict(job.result for job in jobs if job.status is JobStatus.SUCCESS)
    for number in ran:
        for dep in vertices[number].deps:
            assert ran[dep].end <= ran[number].start, f"{number} did not wait for {dep}"


@pytest.mark.parametrize("seed", range(15))
def test_every_job_waits_for_its_dependencies(seed: int) -> None:
    execute(graph(seed, failing=0), failing=False)


@pytest.mark.parametrize("seed", range(100, 115))
def test_failures_cancel_only_their_dependents(seed: int) -> None:
    vertices = graph(seed, failing=0.05)
    execute(vertices, failing=JobStatus.FAILED in expected(vertices))
    pool_works()
