"""Job handles: status, result, error and names; and jobs that the user ends."""

from __future__ import annotations

import re

import pytest

from bsbpool import (
    JobCancelledError,
    JobPoolError,
    JobStatus,
    SubmissionContext,
    WorkflowError,
    create_job_pool,
)

from .support import Node, fail, give, nothing, statuses


class TestStatus:
    def test_before_during_and_after_execution(self, pool):
        first = pool.submit(lambda owner: statuses(first, second, third))
        second = pool.submit(lambda owner: statuses(first, second, third))
        third = pool.submit(nothing, deps=[second])
        assert statuses(first, second, third) == ["pending"] * 3
        pool.execute()
        assert first.result == ["running", "queued", "pending"]
        assert second.result == ["success", "running", "pending"]
        assert statuses(first, second, third) == ["success"] * 3

    def test_of_a_failed_and_a_cancelled_job(self, pool):
        failed = pool.submit(fail)
        cancelled = pool.submit(nothing, deps=[failed])
        with pytest.raises(WorkflowError):
            pool.execute()
        assert statuses(failed, cancelled) == ["failed", "cancelled"]

    def test_outlives_the_pool(self):
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(nothing)
            pool.execute()
        assert job.status is JobStatus.SUCCESS


class TestResult:
    def test_before_execution_is_an_error(self, pool):
        job = pool.submit(nothing)
        with pytest.raises(JobPoolError, match=r"^Result of .* is not available") as raised:
            _ = job.result
        assert str(raised.value) == (
            "Result of job 0 'nothing()' is not available: the job is PENDING; call pool.execute() "
            "first."
        )
        assert raised.value.__cause__ is None

    def test_inside_the_block_can_be_read_repeatedly(self, pool):
        value = ["some", "thing"]
        job = pool.submit(give, value)
        pool.execute()
        assert job.result == job.result == value

    def test_after_the_pool_is_an_error(self):
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, 1)
            pool.execute()
            assert job.result == 1
        with pytest.raises(JobPoolError, match="not available"):
            _ = job.result

    def test_of_a_failed_or_cancelled_job_is_an_error(self, pool):
        failed = pool.submit(fail)
        cancelled = pool.submit(nothing, deps=[failed])
        with pytest.raises(WorkflowError):
            pool.execute()
        for job in (failed, cancelled):
            with pytest.raises(JobPoolError, match="not available"):
                _ = job.result

    def test_none_is_a_result(self, pool):
        job = pool.submit(nothing)
        assert pool.execute(return_results=True) == {job: None}
        assert job.result is None


class TestError:
    def test_of_a_job_that_did_not_fail_is_none(self, pool):
        job = pool.submit(nothing)
        assert job.error is None
        pool.execute()
        assert job.error is None

    def test_is_the_exception_that_the_job_raised(self, pool):
        job = pool.submit(fail, "because")
        with pytest.raises(WorkflowError):
            pool.execute()
        assert isinstance(job.error, ValueError)
        assert job.error.args == ("because",)
        assert job._error is job.error

    def test_of_a_dependent_names_the_cause(self, pool):
        job = pool.submit(nothing, deps=[pool.submit(fail)])
        with pytest.raises(WorkflowError):
            pool.execute()
        assert isinstance(job.error, JobCancelledError)
        assert str(job.error) == "Job killed for dependency failure"


class TestNames:
    def test_of_a_function_is_how_it_prints(self, pool):
        job = pool.submit(nothing)
        assert job.name == str(nothing)
        assert job.submitter is nothing

    def test_of_a_node_is_its_node_name(self, pool):
        node = Node("layers.granular")
        job = pool.queue(nothing, submitter=node)
        assert job.name == "layers.granular"
        assert job.submitter is node

    def test_description_shows_the_context(self, pool):
        node = Node("granular")
        assert pool.queue(nothing, submitter=node).description == "granular"
        job = pool.queue(nothing, submitter=node, chunk=3, side="left")
        assert job.description == "granular (chunk=3, side=left)"

    def test_a_job_prints_with_its_description(self, pool):
        job = pool.queue(nothing, submitter=Node("granular"), chunk=3)
        pattern = r"<.*\.FunctionJob object granular \(chunk=3\) at 0x[0-9a-f]+>"
        assert re.fullmatch(pattern, str(job))

    def test_context_is_a_copy(self, pool):
        job = pool.queue(nothing, chunk=3)
        job.context["chunk"] = 4
        assert job.context == {"chunk": 3}
        assert job._submit_ctx.chunk == 3

    def test_jobs_are_compared_by_identity(self, pool):
        twins = [pool.submit(nothing), pool.submit(nothing)]
        assert len(set(twins)) == 2
        assert {twins[0]: 1}[twins[0]] == 1


class TestSubmissionContext:
    def test_keeps_the_given_values(self):
        context = SubmissionContext("somebody", [1, 2], color="red")
        assert context.name == "somebody"
        assert context.submitter == "somebody"
        assert list(context.chunks) == [1, 2]
        assert context.context == {"color": "red"}
        assert context.color == "red"

    def test_without_chunks_has_none(self):
        assert SubmissionContext("somebody").chunks is None

    def test_a_value_that_was_not_given_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="colour"):
            _ = SubmissionContext("somebody", color="red").colour

    def test_uses_the_node_name(self):
        assert SubmissionContext(Node("granular")).name == "granular"


class TestQueueing:
    def test_submit_takes_the_arguments_as_they_are(self, pool):
        first = pool.submit(nothing)
        job = pool.submit(lambda owner, *args, **kwargs: (args, kwargs), 1, 2, deps=[first], x=3)
        pool.execute()
        assert job.result == ((1, 2), {"x": 3})

    def test_queue_takes_them_as_a_list_and_a_mapping(self, pool):
        job = pool.queue(lambda owner, *args, **kwargs: (args, kwargs), [1, 2], {"key": 3})
        pool.execute()
        assert job.result == ((1, 2), {"key": 3})

    def test_jobs_are_found_by_identity(self, pool):
        twins = [[], []]  # equal, but not the same
        jobs = [pool.queue(nothing, submitter=twin) for twin in twins * 2]
        assert pool.get_submissions_of(twins[0]) == [jobs[0], jobs[2]]
        assert pool.get_submissions_of(twins[1]) == [jobs[1], jobs[3]]
        assert pool.get_submissions_of([]) == []


class TestEndingJobs:
    def test_run_executes_the_job_at_once_in_this_thread(self, pool):
        job = pool.submit(give, 1)
        assert job.run() is False
        assert job.result == 1
        assert pool.execute(return_results=True) == {job: 1}

    def test_run_of_a_failing_job(self, pool):
        job = pool.submit(fail, "here")
        assert job.run() is False
        assert statuses(job) == ["failed"]
        with pytest.raises(WorkflowError):
            pool.execute()

    def test_set_result(self, pool):
        ran = []
        job = pool.submit(lambda owner: ran.append(1))
        after = pool.submit(give, 2, deps=[job])
        job.set_result("by hand")
        pool.execute()
        assert (job.result, after.result, ran) == ("by hand", 2, [])

    def test_set_exception(self, pool):
        job = pool.submit(nothing)
        after = pool.submit(nothing, deps=[job])
        job.set_exception(KeyError("by hand"))
        assert statuses(job, after) == ["failed", "cancelled"]
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        assert [error.error for error in raised.value.exceptions] == [job.error]
