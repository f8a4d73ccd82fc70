"""Jobs can be cancelled in every state."""

from __future__ import annotations

import time

import pytest

from bsbpool import JobCancelledError, JobStatus, WorkflowError, create_job_pool

from .support import MAIN, WORKERS, WORLD, fail, give, pool_works, work

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]


def test_before_the_pool_executes() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            jobs = [pool.submit(give, n) for n in range(10)]
            child = pool.submit(give, deps=[jobs[3]])
            jobs[3].cancel("not needed")
            assert jobs[3].status is JobStatus.CANCELLED
        results = pool.execute(return_results=True)
        if MAIN:
            assert list(results.values()) == [n for n in range(10) if n != 3]
            assert isinstance(jobs[3].error, JobCancelledError)
            assert str(jobs[3].error) == "not needed"
            assert child.status is JobStatus.CANCELLED


def at_first(status, do):
    """Return a listener that calls `do` once, when a job first gets the status."""
    calls = []

    def listener(progress):
        if progress.status is status and not calls:
            calls.append(progress)
            do(progress)

    return listener


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_while_others_run_and_it_is_queued_or_sent(seconds: float) -> None:
    """Short jobs are sent ahead, so some of these are cancelled after they were sent."""
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            slow = [pool.submit(work, 0.3) for _ in WORKERS]
            jobs = [pool.submit(work, seconds) for _ in range(40)]
            child = pool.submit(give, deps=jobs)

            def cancel_all(progress):
                for job in jobs:
                    job.cancel("enough")

            pool.add_listener(at_first(JobStatus.RUNNING, cancel_all))
        began = time.monotonic()
        pool.execute()
        assert time.monotonic() - began < 5
        if MAIN:
            assert {job.status for job in slow} == {JobStatus.SUCCESS}
            assert {job.status for job in jobs} == {JobStatus.CANCELLED}
            assert {str(job.error) for job in jobs} == {"enough"}
            assert child.status is JobStatus.CANCELLED
    pool_works()


def test_after_short_jobs_so_that_others_are_sent_ahead() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            quick = [pool.submit(give, n) for n in range(300)]
            slow = [pool.submit(work, 0.2, deps=quick) for _ in WORKERS]
            jobs = [pool.submit(give, n, deps=quick) for n in range(300)]
            kept, dropped = jobs[::2], jobs[1::2]

            def cancel_half(progress):
                if progress.job in slow and not done:
                    done.append(1)
                    for job in dropped:
                        if job.status in (JobStatus.PENDING, JobStatus.QUEUED):
                            job.cancel()
                            gone.append(job)

            done, gone = [], []
            pool.add_listener(lambda p: p.status is JobStatus.RUNNING and cancel_half(p) and None)
        pool.execute()
        if MAIN:
            assert {job.status for job in quick + slow + kept} == {JobStatus.SUCCESS}
            assert {job.status for job in gone} <= {JobStatus.CANCELLED}
            for job in set(dropped) - set(gone):
                assert job.status is JobStatus.SUCCESS


def test_while_it_runs() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.submit(work, 0.5)
            child = pool.submit(give, deps=[job])
            others = [pool.submit(give, n) for n in range(10)]
            pool.add_listener(
                at_first(JobStatus.RUNNING, lambda progress: progress.job.cancel("stop it"))
            )
            with pytest.warns(UserWarning, match="already running"):
                results = pool.execute(return_results=True)
            assert job.status is JobStatus.CANCELLED
            assert str(job.error) == "stop it"
            assert child.status is JobStatus.CANCELLED
            assert list(results.values()) == list(range(10))
            assert {other.status for other in others} == {JobStatus.SUCCESS}
        else:
            pool.execute()
    pool_works()


def test_a_cancelled_job_that_raises_is_not_a_failure() -> None:
    def sleep_and_fail(owner):
        time.sleep(0.2)
        raise ValueError("too late")

    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.submit(sleep_and_fail)
            pool.add_listener(at_first(JobStatus.RUNNING, lambda progress: progress.job.cancel()))
            with pytest.warns(UserWarning, match="already running"):
                pool.execute()
            assert job.status is JobStatus.CANCELLED
            assert isinstance(job.error, JobCancelledError)
        else:
            pool.execute()
    pool_works()


def test_a_finished_job_is_unchanged() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            good, bad = pool.submit(give, 1), pool.submit(fail)
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            for job, status in ((good, JobStatus.SUCCESS), (bad, JobStatus.FAILED)):
                with pytest.warns(UserWarning, match="already finished"):
                    job.cancel()
                assert job.status is status
            assert good.result == 1


def test_a_run_that_ends_early_does_not_wait_for_running_jobs() -> None:
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        if MAIN:
            running = [pool.submit(work, 1.0) for _ in WORKERS[1:]]
            bad = pool.submit(fail)
            queued = [pool.submit(give, n) for n in range(5)]
        began = time.monotonic()
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            assert time.monotonic() - began < 0.9
            assert bad.status is JobStatus.FAILED
            assert {job.status for job in running} <= {JobStatus.ABORTED, JobStatus.CANCELLED}
            for job in running + queued:
                assert job.status is JobStatus.SUCCESS or job.error is not None
    pool_works()
    WORLD.barrier()
