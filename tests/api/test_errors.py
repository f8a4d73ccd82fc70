"""The errors that `execute` raises when jobs fail, and how they can be handled."""

from __future__ import annotations

import pickle

import pytest

from bsbpool import (
    JobCancelledError,
    JobErroredError,
    JobPoolContextError,
    JobPoolError,
    JobSchedulingError,
    WorkflowError,
    create_job_pool,
)

from .support import fail, give, nothing, statuses


@pytest.fixture
def fast_pool():
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        yield pool


def run_failing(pool):
    with pytest.raises(WorkflowError) as raised:
        pool.execute()
    return raised.value


class TestWorkflowError:
    def test_has_one_error_for_each_failed_job(self, pool):
        jobs = [pool.submit(fail, "one"), pool.submit(nothing), pool.submit(fail, "two")]
        error = run_failing(pool)
        assert error.message == "Your workflow encountered errors."
        first, second = error.exceptions
        for entry, job in ((first, jobs[0]), (second, jobs[2])):
            assert isinstance(entry, JobErroredError)
            assert str(entry) == f"{job.label} failed"
            assert entry.error is job.error
            assert entry.__cause__ is job.error
        assert statuses(*jobs) == ["failed", "success", "failed"]

    def test_the_original_error_leads_to_the_line(self, pool):
        job = pool.submit(fail)
        run_failing(pool)
        traceback = job.error.__traceback__
        names = []
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        assert names[-1] == "fail"

    def test_can_be_caught_by_kind(self, pool):
        pool.submit(fail)
        caught = []
        try:
            pool.execute()
        except* JobErroredError as group:
            caught = group.exceptions
        assert len(caught) == 1

    def test_is_raised_once(self, pool):
        pool.submit(fail)
        run_failing(pool)
        pool.raise_unhandled()  # nothing is left to raise

    def test_of_many_failures(self, pool):
        for n in range(3_000):
            pool.submit(fail, str(n))
        assert len(run_failing(pool).exceptions) == 3_000

    @pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), BaseException("base")])
    def test_of_a_job_that_raised_no_exception(self, pool, error):
        def raises(owner):
            raise error

        job = pool.submit(raises)
        after = pool.submit(give, 1)
        (entry,) = run_failing(pool).exceptions
        assert entry.error is job.error is error
        assert statuses(job, after) == ["failed", "success"]


class TestGroups:
    @pytest.fixture
    def group(self):
        return WorkflowError(
            "errors", [JobErroredError("a failed", ValueError(1)), JobSchedulingError("b")]
        )

    def test_split_keeps_the_kind(self, group):
        jobs, rest = group.split(JobErroredError)
        assert type(jobs) is type(rest) is WorkflowError
        assert [str(error) for error in jobs.exceptions] == ["a failed"]
        assert [str(error) for error in rest.exceptions] == ["b"]

    def test_subgroup_keeps_the_kind(self, group):
        assert type(group.subgroup(JobSchedulingError)) is WorkflowError
        assert group.subgroup(KeyError) is None

    def test_survives_a_pickle(self, group):
        copy = pickle.loads(pickle.dumps(group))
        assert type(copy) is WorkflowError
        assert copy.message == "errors"
        assert [type(error) for error in copy.exceptions] == [JobErroredError, JobSchedulingError]
        assert copy.exceptions[0].error.args == (1,)

    def test_job_errored_error_survives_a_pickle(self):
        copy = pickle.loads(pickle.dumps(JobErroredError("a failed", KeyError("k"))))
        assert str(copy) == "a failed"
        assert isinstance(copy.error, KeyError)
        assert copy.error.args == ("k",)

    def test_error_classes_have_the_documented_bases(self):
        for kind in (JobCancelledError, JobPoolContextError, JobSchedulingError):
            assert issubclass(kind, JobPoolError)
        assert issubclass(WorkflowError, ExceptionGroup)


class TestFailFast:
    def test_stops_before_the_next_job(self, fast_pool):
        ran = []
        before = fast_pool.submit(lambda owner: ran.append("before"))
        bad = fast_pool.submit(fail)
        after = [fast_pool.submit(lambda owner: ran.append("after")) for _ in range(100)]
        assert len(run_failing(fast_pool).exceptions) == 1
        assert ran == ["before"]
        assert statuses(before, bad) == ["success", "failed"]
        assert set(statuses(*after)) == {"cancelled"}
        assert "run ended" in str(after[0].error)

    def test_all_run_without_it(self, pool):
        pool.submit(fail)
        after = [pool.submit(nothing) for _ in range(100)]
        run_failing(pool)
        assert set(statuses(*after)) == {"success"}

    def test_a_handled_failure_does_not_stop_it(self, fast_pool):
        fast_pool.add_listener(lambda record: True)
        bad, after = fast_pool.submit(fail), fast_pool.submit(give, 1)
        assert fast_pool.execute(return_results=True) == {after: 1}
        assert statuses(bad) == ["failed"]

    def test_a_cancellation_does_not_stop_it(self, fast_pool):
        first, after = fast_pool.submit(nothing), fast_pool.submit(give, 1)
        first.cancel()
        assert fast_pool.execute(return_results=True) == {after: 1}

    def test_a_node_that_cannot_schedule_stops_it(self, fast_pool):
        def raises(node):
            raise ValueError

        job = fast_pool.submit(nothing)
        fast_pool.schedule(["node"], raises)
        (error,) = run_failing(fast_pool).exceptions
        assert isinstance(error, JobSchedulingError)
        assert statuses(job) == ["cancelled"]


class TestInterruption:
    def test_by_the_user_ends_the_run(self, pool):
        def interrupted(owner):
            raise KeyboardInterrupt

        before = pool.submit(give, 1)
        running = pool.submit(interrupted)
        after = pool.submit(nothing)
        with pytest.raises(KeyboardInterrupt):
            pool.execute()
        assert statuses(before, running, after) == ["success", "aborted", "cancelled"]
        assert before.result == 1
        assert isinstance(running.error, JobCancelledError)
        assert "while the job was running" in str(running.error)
        assert "run ended" in str(after.error)

    def test_the_next_pool_works(self):
        def interrupted(owner):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), create_job_pool(quiet=True) as pool:
            pool.submit(interrupted)
            pool.execute()
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, 1)
            assert pool.execute(return_results=True) == {job: 1}
