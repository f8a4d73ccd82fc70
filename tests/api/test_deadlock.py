"""Jobs that can never run: `execute` raises at once and reports which job waits for which.

Dependencies lead to older jobs only, so the tests create circles with a helper (`tangle`).
"""

from __future__ import annotations

import threading
import time

import pytest

from bsbpool import JobPoolError, JobStatus, WorkflowError, create_job_pool
from helpers.tangle import turn_edge, wait_for_nothing

from .on_ranks import on_ranks
from .support import give, nothing, statuses


def chain_of(pool, names, deps=()):
    """Queue jobs that each wait for the previous one."""
    jobs = []
    for name in names:
        jobs.append(pool.queue(nothing, deps=jobs[-1:] or deps, submitter=name))
    return jobs


def circle_of(pool, names):
    """Queue jobs that each wait for the previous one, and the first for the last."""
    jobs = chain_of(pool, names)
    free = pool.queue(give, (1,), deps=jobs[-1:])
    turn_edge(pool.run_context.engine, jobs[-1]._id, free._id, jobs[0]._id)
    return jobs, free


def deadlock(pool):
    """Execute; return the message of the error."""
    began = time.monotonic()
    with pytest.raises(JobPoolError, match=r"^Deadlock: ") as caught:
        pool.execute()
    assert time.monotonic() - began < 1
    return str(caught.value)


# ------------------------------------------------------------------ the message


def test_a_circle_of_two(pool):
    jobs, free = circle_of(pool, "AB")
    text = deadlock(pool)
    assert "2 jobs have not finished" in text
    assert text.endswith(
        "Job 0 'nothing()' of 'A' waits for job 1 'nothing()' of 'B', "
        "which waits for job 0 'nothing()' of 'A'."
    )
    assert free.result == 1  # the jobs outside the circle have run
    assert statuses(*jobs) == ["cancelled"] * 2


def test_a_chain_that_leads_into_a_circle(pool):
    outside = pool.queue(nothing, submitter="outside")
    jobs, _ = circle_of(pool, "AB")
    way, free = chain_of(pool, ["way", "free"], deps=jobs[-1:])
    turn_edge(pool.run_context.engine, way._id, free._id, outside._id)
    assert deadlock(pool).endswith(
        "Job 0 'nothing()' of 'outside' waits for job 4 'nothing()' of 'way', "
        "which waits for job 2 'nothing()' of 'B', which waits for job 1 'nothing()' of 'A', "
        "which waits for job 2 'nothing()' of 'B'."
    )


def test_a_chain_down_to_the_job_that_never_runs(pool):
    first, *_ = chain_of(pool, "ABC")
    wait_for_nothing(pool.run_context.engine, first._id)
    assert deadlock(pool).endswith(
        "Job 0 'nothing()' of 'A' waits for a job that is not in this pool."
    )


def test_jobs_that_wait_for_a_manually_started_one(pool):
    first, *others = chain_of(pool, ["load", "align", "merge"])
    first.change_status(JobStatus.RUNNING)
    assert deadlock(pool) == (
        "Deadlock: 3 jobs have not finished, but none can run. Job 1 'nothing()' of 'align' waits "
        "for job 0 'nothing()' of 'load', which was set to RUNNING by change_status() and has not "
        "finished."
    )
    assert statuses(first, *others) == ["aborted", "cancelled", "cancelled"]


def test_a_single_manually_started_job(pool):
    pool.submit(nothing).change_status(JobStatus.RUNNING)
    assert "1 job has not finished" in deadlock(pool)


def test_members_of_a_shared_set_are_found(pool):
    many = [pool.submit(nothing) for _ in range(10)]
    many[7].change_status(JobStatus.RUNNING)
    for _ in range(5):
        pool.submit(nothing, deps=many)
    assert "Job 10 'nothing()'" in (text := deadlock(pool))
    assert "waits for job 7 " in text


def test_the_chain_comes_from_the_core_and_not_from_the_handles(pool):
    jobs, _ = circle_of(pool, "AB")
    for job in jobs:
        job._deps = ()
    text = deadlock(pool)
    assert "waits for job 1 'nothing()' of 'B', which waits for job 0 'nothing()' of 'A'." in text


def test_a_long_chain_is_shortened(pool):
    circle_of(pool, [f"j{n}" * 100 for n in range(100)])
    text = deadlock(pool)
    assert "job 96 'nothing()' of 'j96" in text  # the next but two of job 0, going round by edges
    assert "(95 more), which waits for job 0 'nothing()' of 'j0" in text
    assert len(text) < 1000


def test_a_job_without_a_handle(pool):
    running = pool.submit(nothing)
    running.change_status(JobStatus.RUNNING)
    pool.submit(nothing, deps=[running])
    pool.run_context.jobs.pop()
    assert "Job 1 (not queued) waits for job 0 " in deadlock(pool)


# ------------------------------------------------------------------ schedulers


def test_nothing_is_raised_before_the_last_scheduler_ends(pool):
    """A running scheduler may still end the job that all others wait for."""
    awaited = pool.submit(nothing)
    awaited.change_status(JobStatus.RUNNING)
    later = pool.submit(give, 2, deps=[awaited])
    freed = threading.Event()

    def schedule(node):
        freed.wait(20)
        awaited.set_result(None)

    pool.schedule([1], schedule)
    threading.Timer(0.2, freed.set).start()
    pool.execute()
    assert later.result == 2


def test_jobs_that_a_scheduler_queued_just_before_its_end_are_run(pool):
    """A scheduler that a job started may end after the last job and before the check."""
    came = []

    def begin(owner):
        pool.schedule([1], lambda node: came.append(pool.submit(give, 3)))
        pool._schedulers.join(20)

    pool.submit(begin)
    loop = pool.run_context.run._loop

    class Loop:
        """Ends each iteration before the last scheduler queued its job."""

        def run(self, limited):
            loop.run()
            if len(came) == 1:
                came.append(pool.submit(give, 4))

        def __getattr__(self, name):
            return getattr(loop, name)

    pool.run_context.run._loop = Loop()
    pool.execute()
    assert [job.result for job in came] == [3, 4]


# ------------------------------------------------------------------ on several ranks


@on_ranks(2)
def test_a_circle_ends_the_run_on_all_ranks():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs, free = circle_of(pool, "ABC")
            text = deadlock(pool)
            assert "Job 0 'nothing()' of 'A' waits for job 2 'nothing()' of 'C', which" in text
            assert free.result == 1
            assert statuses(*jobs) == ["cancelled"] * 3
        else:
            began = time.monotonic()
            with pytest.raises(WorkflowError):
                pool.execute()
            assert time.monotonic() - began < 5


@on_ranks(2)
def test_main_waits_for_its_schedulers_before_it_raises():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            circle_of(pool, "AB")
            ending = threading.Event()
            ended = []
            pool.schedule([1], lambda node: ended.append(ending.wait(20)))
            threading.Timer(0.3, ending.set).start()
            deadlock(pool)
            assert ended == [True]
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
