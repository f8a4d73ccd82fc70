"""A program whose types ``mypy --strict`` must infer; `typed_examples` checks it."""

from __future__ import annotations

from typing import assert_type

from bsbpool import Job, JobPool, create_job_pool


def area(owner: object, width: int, height: int = 1) -> int:
    """Return the area of a rectangle."""
    return width * height


def name(owner: object) -> str:
    """Return a name."""
    return "name"


def queue_jobs(pool: JobPool) -> None:
    """Check the types of jobs, of their results and of `execute`."""
    submitted = pool.submit(area, 2, height=3)
    queued = pool.queue(name, deps=[submitted])
    many = pool.queue_many(area, [(1,), (2, 3)], deps=[submitted, queued])
    job: Job[int] = submitted
    assert_type(job.result, int)
    assert_type(submitted.result, int)
    assert_type(queued.result, str)
    assert_type([job.result for job in many], list[int])
    assert_type(pool.put(submitted).result, int)
    assert_type(pool.execute(), None)


with create_job_pool(quiet=True) as entered:
    assert_type(entered, JobPool)
    queue_jobs(entered)
