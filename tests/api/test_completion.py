"""`on_completion` calls each callback exactly once, whenever added and however the job ends."""

from __future__ import annotations

from contextlib import suppress

import pytest

from bsbpool import JobStatus, WorkflowError

from .support import RecordingListener, fail, give, nothing, statuses


class Calls(list):
    """A callback that records each job with its status at the call."""

    def __call__(self, job):
        self.append((job, job.status.value))


@pytest.fixture
def calls():
    return Calls()


class TestOnce:
    def test_when_it_succeeds(self, pool, calls):
        job = pool.submit(nothing)
        job.on_completion(calls)
        assert calls == []
        pool.execute()
        assert calls == [(job, "success")]

    def test_when_it_fails_and_for_its_dependents(self, pool, calls):
        failed = pool.submit(fail)
        dependent = pool.submit(nothing, deps=[failed])
        for job in (failed, dependent):
            job.on_completion(calls)
        with pytest.raises(WorkflowError):
            pool.execute()
        assert calls == [(failed, "failed"), (dependent, "cancelled")]

    def test_when_it_is_cancelled(self, pool, calls):
        job = pool.submit(nothing)
        job.on_completion(calls)
        job.cancel()
        assert calls == [(job, "cancelled")]
        pool.execute()
        assert len(calls) == 1

    def test_when_it_is_cancelled_while_it_runs(self, pool, calls):
        job = pool.submit(lambda owner: job.cancel())
        job.on_completion(calls)
        with pytest.warns(UserWarning, match="Could not cancel"):
            pool.execute()
        assert calls == [(job, "cancelled")]

    def test_when_it_had_ended_before(self, pool, calls):
        job = pool.submit(nothing)
        pool.execute()
        job.on_completion(calls)
        assert calls == [(job, "success")]

    def test_when_the_user_ends_it(self, pool, calls):
        job = pool.submit(nothing)
        job.on_completion(calls)
        job.set_result(1)
        assert calls == [(job, "success")]
        pool.execute()
        assert len(calls) == 1

    def test_when_the_run_ends_early(self, pool, calls):
        def interrupt(owner):
            raise KeyboardInterrupt

        jobs = [pool.submit(interrupt), pool.submit(nothing)]
        for job in jobs:
            job.on_completion(calls)
        with pytest.raises(KeyboardInterrupt):
            pool.execute()
        assert calls == [(jobs[0], "aborted"), (jobs[1], "cancelled")]

    def test_after_the_pool(self, pool, calls):
        job = pool.submit(give, 1)
        pool.execute()
        pool.notify()
        job.on_completion(calls)
        pool.notify()
        assert calls == [(job, "success")]

    def test_for_each_of_many_jobs(self, pool, calls):
        jobs = [pool.submit(nothing) for _ in range(2_000)]
        for job in jobs:
            job.on_completion(calls)
        pool.execute()
        assert calls == [(job, "success") for job in jobs]


class TestSeveral:
    def test_in_the_order_of_registration(self, pool):
        seen = []
        job = pool.submit(nothing)
        for n in range(5):
            job.on_completion(lambda job, n=n: seen.append(n))
        pool.execute()
        assert seen == [0, 1, 2, 3, 4]

    def test_a_callback_registered_twice_is_called_twice(self, pool, calls):
        job = pool.submit(nothing)
        job.on_completion(calls)
        job.on_completion(calls)
        pool.execute()
        assert len(calls) == 2

    def test_an_error_in_one_does_not_prevent_the_others(self, pool, calls):
        def raises(job):
            raise RuntimeError("callback")

        jobs = [pool.submit(nothing), pool.submit(nothing)]
        for job in jobs:
            job.on_completion(raises)
            job.on_completion(calls)
        with suppress(RuntimeError):
            pool.execute()
        assert [job for job, _ in calls] == jobs
        assert all(
            JobStatus(status) in (JobStatus.SUCCESS, JobStatus.CANCELLED) for _, status in calls
        )


class TestFromACallback:
    def test_a_callback_for_the_same_job(self, pool, calls):
        job = pool.submit(nothing)
        job.on_completion(lambda job: job.on_completion(calls))
        pool.execute()
        assert calls == [(job, "success")]

    def test_a_new_job(self, pool):
        job = pool.submit(nothing)
        later = []
        job.on_completion(lambda job: later.append(pool.submit(give, 2, deps=[job])))
        pool.execute()
        assert later[0].result == 2

    def test_a_new_job_after_the_last_one(self, pool, calls):
        job = pool.submit(nothing)

        def again(ended):
            calls(ended)
            if len(calls) < 4:
                pool.submit(nothing).on_completion(again)

        job.on_completion(again)
        pool.execute()
        assert [status for _, status in calls] == ["success"] * 4

    def test_a_cancellation(self, pool):
        first, second = pool.submit(nothing), pool.submit(nothing)
        first.on_completion(lambda job: second.cancel("not any more"))
        pool.execute()
        assert statuses(first, second) == ["success", "cancelled"]
        assert str(second.error) == "not any more"

    def test_the_result_is_available(self, pool):
        seen = []
        pool.submit(give, 5).on_completion(lambda job: seen.append(job.result))
        pool.execute()
        assert seen == [5]

    def test_a_listener_gets_the_change_as_well(self, pool, calls):
        recorder = RecordingListener()
        pool.add_listener(recorder)
        job = pool.submit(nothing)
        job.on_completion(calls)
        pool.execute()
        assert calls == [(job, "success")]
        assert recorder.steps_of(job)[-1] == "running > success"
