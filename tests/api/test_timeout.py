"""`execute(timeout=)`: the run ends in time and keeps the results that it has."""

from __future__ import annotations

import math
import pickle
import threading
import time
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest

from bsbpool import (
    JobCancelledError,
    JobErroredError,
    JobPoolError,
    JobPoolTimeoutError,
    JobStatus,
    WorkflowError,
    create_job_pool,
    services,
)

from .on_ranks import on_ranks
from .support import RecordingListener, fail, give, nothing, statuses, until

pytestmark = pytest.mark.timing


def sleep(owner, seconds):
    time.sleep(seconds)
    return seconds


def time_out(pool, **options):
    """Execute a pool that takes too long; return the error and how long it took."""
    began = time.monotonic()
    with pytest.raises(JobPoolTimeoutError) as caught:
        pool.execute(**options)
    return caught.value, time.monotonic() - began


class TestArgument:
    @pytest.mark.parametrize("timeout", ["1", [1], True, False, 1j, np.bool_(True), nothing])
    def test_a_value_that_is_not_a_number(self, pool, timeout):
        with pytest.raises(TypeError, match=r"^timeout must be a number of seconds or None, got "):
            pool.execute(timeout=timeout)

    @pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf, np.float64("nan")])
    def test_a_number_that_is_not_a_duration(self, pool, timeout):
        with pytest.raises(ValueError, match=r"^timeout must be at least 0, got "):
            pool.execute(timeout=timeout)

    def test_a_refused_value_leaves_the_pool_unchanged(self, pool):
        job = pool.submit(give, 1)
        with pytest.raises(TypeError):
            pool.execute(timeout="1")
        pool.execute()
        assert job.result == 1

    @pytest.mark.parametrize(
        "timeout", [None, 60, 60.0, math.inf, Fraction(60), np.int64(60), np.float32(60)]
    )
    def test_enough_time_changes_nothing(self, pool, timeout):
        job = pool.submit(give, 1)
        assert pool.execute(True, timeout) == {job: 1}

    def test_return_results_may_be_positional(self, pool):
        job = pool.submit(give, 1)
        assert pool.execute(True) == {job: 1}

    def test_a_timeout_of_0_without_jobs(self, pool):
        assert pool.execute(return_results=True, timeout=0) == {}

    def test_a_timeout_of_0(self, pool):
        jobs = [pool.submit(give, n) for n in range(3)]
        error, _ = time_out(pool, timeout=0)
        assert statuses(*jobs) == ["cancelled"] * 3
        assert "Of 3 jobs 0 succeeded, 0 failed, 0 were aborted and 3 cancelled." in str(error)

    def test_a_job_that_ignores_the_error_may_end_late(self, pool):
        """No job is left that could be aborted."""

        def ignore(owner):
            with suppress(JobCancelledError):
                time.sleep(20)
            return 5

        job = pool.submit(ignore)
        assert pool.execute(return_results=True, timeout=0.01) == {job: 5}


class TestError:
    def test_is_a_timeout_error_and_a_pool_error(self):
        error = JobPoolTimeoutError("late", {1: 2})
        assert isinstance(error, TimeoutError)
        assert isinstance(error, JobPoolError)
        assert (str(error), error.args, error.results) == ("late", ("late",), {1: 2})

    def test_is_pickled_without_its_results(self):
        copy = pickle.loads(pickle.dumps(JobPoolTimeoutError("late", {1: 2})))
        assert (type(copy), str(copy), copy.results) == (JobPoolTimeoutError, "late", None)


class TestSerial:
    def test_ends_the_running_job(self, pool):
        recorder = RecordingListener()
        pool.add_listener(recorder)
        jobs = [pool.submit(sleep, 0.03) for _ in range(20)]
        error, seconds = time_out(pool, return_results=True, timeout=0.1)
        assert 0.1 <= seconds < 1
        n = len(error.results)
        assert 1 <= n <= 4
        assert error.results == {job: 0.03 for job in jobs[:n]}
        assert [job.result for job in jobs[:n]] == [0.03] * n
        assert statuses(*jobs[n:]) == ["aborted"] + ["cancelled"] * (19 - n)
        assert f"within 0.1 s. Of 20 jobs {n} succeeded" in str(error)
        assert error.__cause__ is None
        assert recorder.pool_steps[-1] == "executing > closing"
        assert recorder.steps_of(jobs[-1])[-1].endswith("> cancelled")

    def test_without_results(self, pool):
        jobs = [pool.submit(sleep, 0.02) for _ in range(5)]
        error, _ = time_out(pool, timeout=0.01)
        assert error.results is None
        assert statuses(*jobs) == ["aborted"] + ["cancelled"] * 4

    def test_errors_of_jobs_say_why_they_did_not_run(self, pool):
        pool.submit(sleep, 0.02)
        other, by_hand = pool.submit(nothing), pool.submit(nothing)
        by_hand.cancel("mine")
        time_out(pool, timeout=0.01)
        assert isinstance(other.error, JobCancelledError)
        assert "its timeout of 0.01 s was over" in str(other.error)
        assert str(by_hand.error) == "mine"

    def test_failures_before_it_are_its_cause(self, pool):
        broken = pool.submit(fail, "first of all")
        pool.submit(sleep, 0.05)
        pool.submit(nothing)
        error, _ = time_out(pool, timeout=0.02)
        assert "1 failed" in str(error)
        assert isinstance(error.__cause__, WorkflowError)
        (failure,) = error.__cause__.exceptions
        assert isinstance(failure, JobErroredError)
        assert failure.error is broken.error
        assert str(broken.error) == "first of all"

    def test_failures_that_a_listener_handled_are_not_its_cause(self, pool):
        pool.add_listener(lambda progress: True)
        pool.submit(fail)
        pool.submit(sleep, 0.05)
        pool.submit(nothing)
        error, _ = time_out(pool, timeout=0.02)
        assert error.__cause__ is None

    def test_a_pool_that_fails_fast_fails_first(self):
        with create_job_pool(quiet=True, fail_fast=True) as pool:
            pool.submit(fail)
            pool.submit(sleep, 0.05)
            with pytest.raises(WorkflowError):
                pool.execute(timeout=0.02)

    def test_while_waiting_for_schedulers(self, pool):
        ending = threading.Event()
        pool.schedule([1, 2], lambda node: ending.wait(20))
        job = pool.submit(nothing)
        _, seconds = time_out(pool, timeout=0.1)
        assert 0.1 <= seconds < 1
        assert job.status is JobStatus.CANCELLED
        ending.set()
        assert until(lambda: not pool.scheduling)

    def test_while_waiting_for_a_scheduler_that_a_job_started(self, pool):
        ending = threading.Event()
        job = pool.submit(lambda owner: pool.schedule([1], lambda node: ending.wait(20)))
        _, seconds = time_out(pool, timeout=0.1)
        assert 0.1 <= seconds < 1
        assert job.status is JobStatus.SUCCESS
        ending.set()

    def test_a_job_in_its_own_thread_is_not_waited_for(self):
        """A listener with an interval makes the pool run jobs in another thread."""
        ending, ended = threading.Event(), threading.Event()

        def wait(owner):
            try:
                ending.wait(20)
            finally:
                ended.set()
            return 5

        with create_job_pool(quiet=True) as pool:
            pool.add_listener(lambda progress: None, max_wait=5)
            first, long, last = pool.submit(give, 1), pool.submit(wait), pool.submit(nothing)
            error, seconds = time_out(pool, return_results=True, timeout=0.1)
            assert 0.1 <= seconds < 1
            assert statuses(first, long, last) == ["success", "aborted", "cancelled"]
            assert error.results == {first: 1}
            assert "while the job was running: its timeout of 0.1 s was over" in str(long.error)
            ending.set()
            assert ended.wait(20)
            assert long.status is JobStatus.ABORTED

    def test_a_manually_started_job_is_aborted(self, pool):
        by_hand = pool.submit(nothing)
        by_hand.change_status(JobStatus.RUNNING)
        pool.submit(sleep, 0.05)
        pool.submit(nothing)
        time_out(pool, timeout=0.02)
        assert by_hand.status is JobStatus.ABORTED

    def test_of_a_pool_inside_a_job_is_the_error_of_that_job(self, pool):
        def inside(owner):
            with create_job_pool(quiet=True) as inner:
                inner.submit(sleep, 0.05)
                inner.submit(nothing)
                inner.execute(return_results=True, timeout=0.01)

        job, other = pool.submit(inside), pool.submit(give, 1)
        with pytest.raises(WorkflowError):
            pool.execute(timeout=60)
        assert isinstance(job.error, JobPoolTimeoutError)
        assert other.result == 1

    def test_a_timeout_error_of_a_listener_is_raised(self, pool):
        def listener(progress):
            if progress.status is JobStatus.SUCCESS:
                raise JobPoolTimeoutError("of another pool")

        pool.add_listener(listener)
        pool.submit(nothing)
        with pytest.raises(JobPoolTimeoutError, match="of another pool"):
            pool.execute()

    def test_the_next_pool_works(self, pool):
        pool.submit(sleep, 0.05)
        pool.submit(nothing)
        time_out(pool, timeout=0.01)
        with create_job_pool(quiet=True) as other:
            job = other.submit(give, 1)
            assert other.execute(return_results=True) == {job: 1}

    def test_the_time_is_checked_after_each_job(self, pool):
        """Signals are checked only once in a thousand jobs."""
        for _ in range(2000):
            pool.submit(sleep, 0.001)
        error, seconds = time_out(pool, return_results=True, timeout=0.05)
        assert seconds < 0.5
        assert len(error.results) < 100


# ------------------------------------------------------------------ on several ranks


@on_ranks(3)
def test_main_leaves_in_time_and_workers_when_their_job_ends():
    with create_job_pool(quiet=True) as pool:
        if not pool.is_main():
            with pytest.raises(WorkflowError, match="during parallel execution"):
                pool.execute(timeout="the others ignore theirs")
            services.MPI.barrier()  # the launcher would end this rank with main
            return
        recorder = RecordingListener()
        pool.add_listener(recorder)
        quick = [pool.submit(give, n) for n in range(20)]
        broken = pool.submit(fail, deps=quick)
        long = [pool.submit(sleep, 3, deps=quick) for _ in range(2)]
        later = [pool.submit(nothing, deps=long) for _ in range(5)]
        error, seconds = time_out(pool, return_results=True, timeout=0.5)
        assert 0.5 <= seconds < 1
        assert error.results == {job: n for n, job in enumerate(quick)}
        assert [job.result for job in quick] == list(range(20))
        assert statuses(broken, *long, *later) == ["failed", *["aborted"] * 2, *["cancelled"] * 5]
        assert "Of 28 jobs 20 succeeded, 1 failed, 2 were aborted and 5 cancelled." in str(error)
        assert [failure.error for failure in error.__cause__.exceptions] == [broken.error]
        assert "while the job was running: its timeout of 0.5 s was over" in str(long[0].error)
        assert "its timeout of 0.5 s was over" in str(later[0].error)
        assert recorder.pool_steps[-1] == "executing > closing"
        assert recorder.steps_of(long[0])[-1] == "running > aborted"
        assert recorder.steps_of(later[0])[-1] == "pending > cancelled"
    services.MPI.barrier()


@on_ranks(2)
def test_the_time_is_checked_while_results_arrive():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = pool.queue_many(give, zip(range(1_000_000)))
            error, seconds = time_out(pool, timeout=0.04)  # they take 0.15 s on a fast machine
            done = sum(job.status is JobStatus.SUCCESS for job in jobs)
            assert f"{done:,} succeeded" in str(error)
            assert 0.04 <= seconds < 1.2  # cancelling so many jobs takes time as well
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(give, 1) if pool.is_main() else None
        results = pool.execute(return_results=True, timeout=30)
        assert results == ({job: 1} if pool.is_main() else {})


@on_ranks(2)
def test_a_scheduler_that_does_not_end():
    ending = threading.Event()
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.schedule([1], lambda node: ending.wait(20))
            _, seconds = time_out(pool, timeout=0.2)
            assert 0.2 <= seconds < 0.7
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
    ending.set()


@on_ranks(2)
def test_a_manually_started_job_that_never_ends():
    """Any thread may end it at any time, so without a timeout the run waits for it."""
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            by_hand = pool.submit(nothing)
            by_hand.change_status(JobStatus.RUNNING)
            later = pool.submit(nothing, deps=[by_hand])
            time_out(pool, timeout=0.2)
            assert statuses(by_hand, later) == ["aborted", "cancelled"]
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
