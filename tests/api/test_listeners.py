"""What listeners are told: everything once, in order, as it was at the event."""

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

from .support import FAILS, SUCCEEDS, Notebook, fail, nothing

POOL_STEPS = ["none > scheduling", "scheduling > executing", "executing > closing"]


@pytest.fixture
def notebook():
    return Notebook()


@pytest.fixture
def heard_pool(notebook):
    """An open pool to which a notebook listens from the start."""
    pool = create_job_pool(quiet=True)
    pool.add_listener(notebook)
    with pool:
        yield pool


class TestRecords:
    def test_of_a_successful_job(self, heard_pool, notebook):
        job = heard_pool.submit(nothing)
        heard_pool.execute()
        assert notebook.added == [job]
        assert notebook.steps_of(job) == SUCCEEDS
        assert notebook.pool_steps == POOL_STEPS

    def test_of_a_failed_job_and_its_dependents(self, heard_pool, notebook):
        bad = heard_pool.submit(fail)
        child = heard_pool.submit(nothing, deps=[bad])
        grandchild = heard_pool.submit(nothing, deps=[child])
        with pytest.raises(WorkflowError):
            heard_pool.execute()
        assert notebook.steps_of(bad) == FAILS
        assert notebook.steps_of(child) == ["pending > cancelled"]
        assert notebook.steps_of(grandchild) == ["pending > cancelled"]
        assert notebook.pool_steps == POOL_STEPS

    def test_of_a_job_cancelled_before(self, heard_pool, notebook):
        job = heard_pool.submit(nothing)
        job.cancel()
        heard_pool.execute()
        assert notebook.added == [job]
        assert notebook.steps_of(job) == ["pending > cancelled"]

    def test_of_a_run_that_ends_early(self, heard_pool, notebook):
        def interrupted(owner):
            raise KeyboardInterrupt

        job, after = heard_pool.submit(interrupted), heard_pool.submit(nothing)
        with pytest.raises(KeyboardInterrupt):
            heard_pool.execute()
        assert notebook.steps_of(job) == [*SUCCEEDS[:2], "running > aborted"]
        assert notebook.steps_of(after) == [*SUCCEEDS[:1], "queued > cancelled"]
        assert notebook.pool_steps == POOL_STEPS

    def test_a_job_is_added_before_anything_else_happens_to_it(self, heard_pool, notebook):
        first = heard_pool.submit(fail)
        heard_pool.submit(nothing, deps=[first])
        first.on_completion(lambda job: heard_pool.submit(nothing, deps=[first]))
        with pytest.raises(WorkflowError):
            heard_pool.execute()
        seen = set()
        for record in notebook.records:
            if isinstance(record, PoolJobAddedProgress):
                seen.add(record.job)
            elif isinstance(record, PoolJobUpdateProgress):
                assert record.job in seen
        assert seen == set(heard_pool.jobs)

    def test_of_many_jobs_each_exactly_once(self, heard_pool, notebook):
        jobs = [heard_pool.submit(nothing) for _ in range(1_000)]
        heard_pool.execute()
        steps = {}
        for record in notebook.records:
            if isinstance(record, PoolJobUpdateProgress):
                steps.setdefault(record.job, []).append(record.status.value)
        assert notebook.added == jobs
        assert steps == {job: ["queued", "running", "success"] for job in jobs}

    def test_in_the_order_of_the_events(self, heard_pool, notebook):
        first = heard_pool.submit(nothing)
        second = heard_pool.submit(nothing, deps=[first])
        heard_pool.execute()
        updates = [r for r in notebook.records if isinstance(r, PoolJobUpdateProgress)]
        assert [(r.job, r.status.value) for r in updates] == [
            (first, "queued"),
            (first, "running"),
            (first, "success"),
            (second, "queued"),
            (second, "running"),
            (second, "success"),
        ]


class TestSnapshots:
    def test_running_is_heard_before_the_job_works(self, pool):
        events = []

        def listener(record):
            if isinstance(record, PoolJobUpdateProgress) and record.job is job:
                events.append(record.status.value)

        pool.add_listener(listener)
        job = pool.submit(lambda owner: events.append("works"))
        pool.execute()
        assert events == ["queued", "running", "works", "success"]

    def test_stay_what_they_were(self, heard_pool, notebook):
        heard_pool.submit(nothing)
        heard_pool.execute()
        updates = [r for r in notebook.records if isinstance(r, PoolJobUpdateProgress)]
        assert [r.status for r in updates] == [
            JobStatus.QUEUED,
            JobStatus.RUNNING,
            JobStatus.SUCCESS,
        ]

    def test_know_their_pool(self, notebook):
        workflow = Workflow(["placement"])
        pool = JobPool(1, None, workflow=workflow)
        pool.add_listener(notebook)
        with pool:
            job = pool.submit(nothing)
            pool.execute()
            assert all(record.jobs == [job] for record in notebook.records)
        assert all(record.workflow is workflow for record in notebook.records)

    def test_say_why_they_come(self, heard_pool, notebook):
        job = heard_pool.submit(nothing)
        heard_pool.execute()
        reasons = {type(record): record.reason for record in notebook.records}
        assert reasons == {
            PoolStatusProgress: PoolProgressReason.POOL_STATUS_CHANGE,
            PoolJobAddedProgress: PoolProgressReason.JOB_ADDED,
            PoolJobUpdateProgress: PoolProgressReason.JOB_STATUS_CHANGE,
        }
        assert PoolProgress(heard_pool, PoolProgressReason.MAX_TIMEOUT_PING).jobs == [job]
        assert notebook.records[0].status is PoolStatus.SCHEDULING


class TestDelivery:
    def test_waits_for_the_next_notify(self, heard_pool, notebook):
        job = heard_pool.submit(nothing)
        assert notebook.added == []
        heard_pool.notify()
        assert notebook.added == [job]
        heard_pool.notify()
        assert notebook.added == [job]

    def test_of_a_ping(self, heard_pool, notebook):
        heard_pool.ping()
        assert notebook.pings == 0
        heard_pool.notify()
        assert notebook.pings == 1

    def test_of_a_record_of_ones_own(self, heard_pool, notebook):
        heard_pool.submit(nothing)
        record = PoolProgress(heard_pool, PoolProgressReason.MAX_TIMEOUT_PING)
        heard_pool.add_notification(record)
        heard_pool.notify()
        assert notebook.records[-1] is record
        assert len(notebook.added) == 1

    def test_to_all_listeners(self, pool):
        notebooks = [Notebook(), Notebook(lambda record: True), Notebook()]
        for notebook in notebooks:
            pool.add_listener(notebook)
        pool.submit(fail)
        pool.execute()
        assert notebooks[0].records == notebooks[1].records == notebooks[2].records != []

    def test_costs_nothing_when_nobody_listens(self, pool, monkeypatch):
        def forbidden(*args, **kwargs):
            raise AssertionError("a record that nobody reads")

        for kind in (PoolJobUpdateProgress, PoolJobAddedProgress):
            monkeypatch.setattr(kind, "__init__", forbidden)
        jobs = [pool.submit(nothing) for _ in range(10)]
        jobs[0].on_completion(lambda job: None)
        pool.execute()


class TestHandling:
    def test_a_true_answer_to_the_failure_handles_it(self, pool):
        pool.add_listener(Notebook(lambda record: record.status is JobStatus.FAILED))
        bad = pool.submit(fail)
        child = pool.submit(nothing, deps=[bad])
        pool.execute()
        assert bad.status is JobStatus.FAILED
        assert child.status is JobStatus.CANCELLED
        assert isinstance(bad.error, ValueError)

    def test_only_that_failure(self, pool):
        pool.add_listener(lambda record: getattr(record, "job", None) is handled)
        handled, raised = pool.submit(fail, "handled"), pool.submit(fail, "raised")
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        assert [error.error for error in caught.value.exceptions] == [raised.error]
        assert str(handled.error) == "handled"

    @pytest.mark.parametrize("answer", [JobStatus.QUEUED, JobStatus.RUNNING])
    def test_a_true_answer_to_something_else_does_not(self, pool, answer):
        pool.add_listener(lambda record: record.status is answer)
        pool.submit(fail)
        with pytest.raises(WorkflowError):
            pool.execute()

    @pytest.mark.parametrize("answers", [(True, False), (False, True)])
    def test_one_of_several_is_enough(self, pool, answers):
        for answer in answers:
            pool.add_listener(lambda record, answer=answer: answer)
        pool.submit(fail)
        pool.execute()
