"""`cancel` before, during and after the execution of a job, and for very many jobs."""

from __future__ import annotations

import warnings

import pytest

from bsbpool import JobCancelledError, JobPoolError

from .support import cpu_limit, fail, give, nothing, statuses


class TestQueued:
    @pytest.mark.parametrize("reason", [None, "", "changed my mind"])
    def test_a_cancelled_job_never_runs_and_its_error_has_the_reason(self, pool, reason):
        ran = []
        job = pool.submit(lambda owner: ran.append(1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            job.cancel(reason)
        assert statuses(job) == ["cancelled"]
        assert isinstance(job.error, JobCancelledError)
        assert job.error.args == (() if reason is None else (reason,))
        assert pool.execute(return_results=True) == {}
        assert ran == []

    def test_its_dependents_are_cancelled(self, pool):
        first = pool.submit(nothing)
        second = pool.submit(nothing, deps=[first])
        third = pool.submit(nothing, deps=[second])
        other = pool.submit(nothing)
        first.cancel("why not")
        assert statuses(first, second, third, other) == ["cancelled"] * 3 + ["pending"]
        assert str(second.error) == str(third.error) == "Job killed for dependency failure"
        pool.execute()
        assert statuses(other) == ["success"]

    def test_a_job_queued_after_it_is_cancelled_at_once(self, pool):
        first = pool.submit(nothing)
        first.cancel()
        second = pool.submit(nothing, deps=[first])
        assert statuses(second) == ["cancelled"]
        assert isinstance(second.error, JobCancelledError)
        pool.execute()

    def test_from_another_job_while_it_is_queued(self, pool):
        pool.submit(lambda owner: last.cancel("by the first"))
        last = pool.submit(nothing)
        pool.execute()
        assert statuses(last) == ["cancelled"]
        assert str(last.error) == "by the first"


class TestRunning:
    @pytest.fixture
    def run_cancelled(self, pool):
        def run(end, *args):
            def body(owner):
                job.cancel("enough")
                return end(owner, *args)

            job = pool.submit(body)
            after = pool.submit(nothing, deps=[job])
            with pytest.warns(UserWarning) as caught:
                results = pool.execute(return_results=True)
            (warning,) = caught
            return job, after, results, str(warning.message)

        return run

    @pytest.mark.parametrize("end", [give, fail], ids=["succeeds", "fails"])
    def test_the_status_is_cancelled_however_the_job_ends(self, run_cancelled, end):
        job, after, results, _ = run_cancelled(end, "something")
        assert statuses(job, after) == ["cancelled", "cancelled"]
        assert isinstance(job.error, JobCancelledError)
        assert str(job.error) == "enough"
        assert results == {}
        with pytest.raises(JobPoolError):
            _ = job.result

    def test_a_warning_says_that_the_job_is_running(self, run_cancelled):
        job, _, _, warning = run_cancelled(give, 1)
        assert warning == f"Could not cancel {job.label}, the job is already running."


class TestFinished:
    def test_a_successful_job_is_unchanged(self, pool):
        job = pool.submit(give, 1)
        after = pool.submit(nothing, deps=[job])
        job.on_completion(lambda job: None)
        pool.execute()
        with pytest.warns(UserWarning, match="Could not cancel") as caught:
            job.cancel("too late")
        assert "running" not in str(caught[0].message)
        assert "finished" in str(caught[0].message)
        assert statuses(job, after) == ["success", "success"]
        assert (job.result, job.error) == (1, None)

    def test_its_result_is_returned(self, pool):
        first = pool.submit(give, 1)
        first.on_completion(lambda job: job.cancel())
        with pytest.warns(UserWarning, match="finished"):
            assert pool.execute(return_results=True) == {first: 1}

    def test_a_failed_job_keeps_its_error(self, pool):
        job = pool.submit(fail, "first")
        job.run()
        with pytest.warns(UserWarning, match="Could not cancel"):
            job.cancel("too late")
        assert str(job.error) == "first"
        assert statuses(job) == ["failed"]
        with pytest.raises(ExceptionGroup):
            pool.execute()

    def test_a_cancelled_job_keeps_its_reason(self, pool):
        job = pool.submit(nothing)
        job.cancel("first")
        with pytest.warns(UserWarning, match="Could not cancel"):
            job.cancel("second")
        assert str(job.error) == "first"


class TestManyJobs:
    def test_a_hundred_thousand_queued_jobs(self, pool):
        jobs = [pool.submit(nothing) for _ in range(100_000)]
        with cpu_limit(2.0):
            for job in jobs:
                job.cancel()
        pool.execute()
        assert {job.status.value for job in jobs} == {"cancelled"}

    def test_a_running_job_cancels_queued_ones(self, pool):
        def cancel_all(owner):
            with cpu_limit(0.4):
                for job in jobs:
                    job.cancel("all")

        first = pool.submit(cancel_all)
        jobs = [pool.submit(nothing) for _ in range(20_000)]
        pool.execute()
        assert statuses(first) == ["success"]
        assert {job.status.value for job in jobs} == {"cancelled"}

    def test_dependents_of_one_job(self, pool):
        first = pool.submit(nothing)
        jobs = [pool.submit(nothing, deps=[first]) for _ in range(20_000)]
        with cpu_limit(0.1):
            first.cancel()
        assert {job.status.value for job in jobs} == {"cancelled"}
        pool.execute()
