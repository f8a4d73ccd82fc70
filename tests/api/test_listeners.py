"""Listeners get each change once, in order, with the values at the time of the change."""

from __future__ import annotations

import pytest

from bsbpool import JobPool, JobStatus, PoolStatus, Workflow, WorkflowError, create_job_pool
from bsbpool.progress import (
    PoolJobAddedProgress,
    PoolJobUpdateProgress,
    PoolProgress,
    PoolProgressReason,
    PoolStatusProgress,
)

from .support import FAILS, SUCCEEDS, RecordingListener, fail, nothing

POOL_STEPS = ["none > scheduling", "scheduling > executing", "executing > closing"]


@pytest.fixture
def recorder():
    return RecordingListener()


@pytest.fixture
def recorded_pool(recorder):
    """An open pool with a recording listener from the start."""
    pool = create_job_pool(quiet=True)
    pool.add_listener(recorder)
    with pool:
        yield pool


class TestRecords:
    def test_of_a_successful_job(self, recorded_pool, recorder):
        job = recorded_pool.submit(nothing)
        recorded_pool.execute()
        assert recorder.added == [job]
        assert recorder.steps_of(job) == SUCCEEDS
        assert recorder.pool_steps == POOL_STEPS

    def test_of_a_failed_job_and_its_dependents(self, recorded_pool, recorder):
        bad = recorded_pool.submit(fail)
        child = recorded_pool.submit(nothing, deps=[bad])
        grandchild = recorded_pool.submit(nothing, deps=[child])
        with pytest.raises(WorkflowError):
            recorded_pool.execute()
        assert recorder.steps_of(bad) == FAILS
        assert recorder.steps_of(child) == ["pending > cancelled"]
        assert recorder.steps_of(grandchild) == ["pending > cancelled"]
        assert recorder.pool_steps == POOL_STEPS

    def test_of_a_job_cancelled_before(self, recorded_pool, recorder):
        job = recorded_pool.submit(nothing)
        job.cancel()
        recorded_pool.execute()
        assert recorder.added == [job]
        assert recorder.steps_of(job) == ["pending > cancelled"]

    def test_of_a_run_that_ends_early(self, recorded_pool, recorder):
        def interrupted(owner):
            raise KeyboardInterrupt

        job, after = recorded_pool.submit(interrupted), recorded_pool.submit(nothing)
        with pytest.raises(KeyboardInterrupt):
            recorded_pool.execute()
        assert recorder.steps_of(job) == [*SUCCEEDS[:2], "running > aborted"]
        assert recorder.steps_of(after) == [*SUCCEEDS[:1], "queued > cancelled"]
        assert recorder.pool_steps == POOL_STEPS

    def test_the_record_of_adding_a_job_is_the_first_of_the_job(self, recorded_pool, recorder):
        first = recorded_pool.submit(fail)
        recorded_pool.submit(nothing, deps=[first])
        first.on_completion(lambda job: recorded_pool.submit(nothing, deps=[first]))
        with pytest.raises(WorkflowError):
            recorded_pool.execute()
        seen = set()
        for record in recorder.records:
            if isinstance(record, PoolJobAddedProgress):
                seen.add(record.job)
            elif isinstance(record, PoolJobUpdateProgress):
                assert record.job in seen
        assert seen == set(recorded_pool.jobs)

    def test_of_many_jobs_exactly_once_each(self, recorded_pool, recorder):
        jobs = [recorded_pool.submit(nothing) for _ in range(1_000)]
        recorded_pool.execute()
        steps = {}
        for record in recorder.records:
            if isinstance(record, PoolJobUpdateProgress):
                steps.setdefault(record.job, []).append(record.status.value)
        assert recorder.added == jobs
        assert steps == {job: ["queued", "running", "success"] for job in jobs}

    def test_in_the_order_of_the_events(self, recorded_pool, recorder):
        first = recorded_pool.submit(nothing)
        second = recorded_pool.submit(nothing, deps=[first])
        recorded_pool.execute()
        updates = [r for r in recorder.records if isinstance(r, PoolJobUpdateProgress)]
        assert [(r.job, r.status.value) for r in updates] == [
            (first, "queued"),
            (first, "running"),
            (first, "success"),
            (second, "queued"),
            (second, "running"),
            (second, "success"),
        ]


class TestSnapshots:
    def test_running_is_delivered_before_the_job_executes(self, pool):
        events = []

        def listener(record):
            if isinstance(record, PoolJobUpdateProgress) and record.job is job:
                events.append(record.status.value)

        pool.add_listener(listener)
        job = pool.submit(lambda owner: events.append("works"))
        pool.execute()
        assert events == ["queued", "running", "works", "success"]

    def test_do_not_change_later(self, recorded_pool, recorder):
        recorded_pool.submit(nothing)
        recorded_pool.execute()
        updates = [r for r in recorder.records if isinstance(r, PoolJobUpdateProgress)]
        assert [r.status for r in updates] == [
            JobStatus.QUEUED,
            JobStatus.RUNNING,
            JobStatus.SUCCESS,
        ]

    def test_have_their_pool(self, recorder):
        workflow = Workflow(["placement"])
        pool = JobPool(1, None, workflow=workflow)
        pool.add_listener(recorder)
        with pool:
            job = pool.submit(nothing)
            pool.execute()
            assert all(record.jobs == [job] for record in recorder.records)
        assert all(record.workflow is workflow for record in recorder.records)

    def test_have_a_reason(self, recorded_pool, recorder):
        job = recorded_pool.submit(nothing)
        recorded_pool.execute()
        reasons = {type(record): record.reason for record in recorder.records}
        assert reasons == {
            PoolStatusProgress: PoolProgressReason.POOL_STATUS_CHANGE,
            PoolJobAddedProgress: PoolProgressReason.JOB_ADDED,
            PoolJobUpdateProgress: PoolProgressReason.JOB_STATUS_CHANGE,
        }
        assert PoolProgress(recorded_pool, PoolProgressReason.MAX_TIMEOUT_PING).jobs == [job]
        assert recorder.records[0].status is PoolStatus.SCHEDULING


class TestDelivery:
    def test_waits_for_the_next_notify(self, recorded_pool, recorder):
        job = recorded_pool.submit(nothing)
        assert recorder.added == []
        recorded_pool.notify()
        assert recorder.added == [job]
        recorded_pool.notify()
        assert recorder.added == [job]

    def test_of_a_ping(self, recorded_pool, recorder):
        recorded_pool.ping()
        assert recorder.pings == 0
        recorded_pool.notify()
        assert recorder.pings == 1

    def test_of_a_user_defined_record(self, recorded_pool, recorder):
        recorded_pool.submit(nothing)
        record = PoolProgress(recorded_pool, PoolProgressReason.MAX_TIMEOUT_PING)
        recorded_pool.add_notification(record)
        recorded_pool.notify()
        assert recorder.records[-1] is record
        assert len(recorder.added) == 1

    def test_to_all_listeners(self, pool):
        recorders = [
            RecordingListener(),
            RecordingListener(lambda record: True),
            RecordingListener(),
        ]
        for recorder in recorders:
            pool.add_listener(recorder)
        pool.submit(fail)
        pool.execute()
        assert recorders[0].records == recorders[1].records == recorders[2].records != []

    def test_no_records_are_made_without_listeners(self, pool, monkeypatch):
        def forbidden(*args, **kwargs):
            raise AssertionError("a record that nobody reads")

        for kind in (PoolJobUpdateProgress, PoolJobAddedProgress):
            monkeypatch.setattr(kind, "__init__", forbidden)
        jobs = [pool.submit(nothing) for _ in range(10)]
        jobs[0].on_completion(lambda job: None)
        pool.execute()


class TestHandling:
    def test_a_true_return_value_handles_the_failure(self, pool):
        pool.add_listener(RecordingListener(lambda record: record.status is JobStatus.FAILED))
        bad = pool.submit(fail)
        child = pool.submit(nothing, deps=[bad])
        pool.execute()
        assert bad.status is JobStatus.FAILED
        assert child.status is JobStatus.CANCELLED
        assert isinstance(bad.error, ValueError)

    def test_other_failures_are_not_handled(self, pool):
        pool.add_listener(lambda record: getattr(record, "job", None) is handled)
        handled, raised = pool.submit(fail, "handled"), pool.submit(fail, "raised")
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        assert [error.error for error in caught.value.exceptions] == [raised.error]
        assert str(handled.error) == "handled"

    @pytest.mark.parametrize("answer", [JobStatus.QUEUED, JobStatus.RUNNING])
    def test_a_true_return_value_for_other_records_does_not(self, pool, answer):
        pool.add_listener(lambda record: record.status is answer)
        pool.submit(fail)
        with pytest.raises(WorkflowError):
            pool.execute()

    @pytest.mark.parametrize("answers", [(True, False), (False, True)])
    def test_one_of_several_listeners_is_enough(self, pool, answers):
        for answer in answers:
            pool.add_listener(lambda record, answer=answer: answer)
        pool.submit(fail)
        pool.execute()
