"""Jobs wait for their dependencies, and are cancelled if a dependency fails."""

from __future__ import annotations

import pytest

from bsbpool import JobCancelledError, WorkflowError

from .support import fail, give, nothing, statuses


@pytest.fixture
def order():
    return []


@pytest.fixture
def note(pool, order):
    """Queue a job that records its name when it runs."""
    return lambda name, *deps: pool.submit(lambda owner: order.append(name), deps=deps)


class TestOrder:
    def test_jobs_run_in_the_order_of_queueing(self, pool, note, order):
        for n in range(200):
            note(n)
        pool.execute()
        assert order == list(range(200))

    def test_jobs_that_waited_run_in_the_order_of_queueing(self, pool, note, order):
        first = note("first")
        note("second", first)
        note("third")
        pool.execute()
        assert order == ["first", "second", "third"]

    def test_diamond(self, pool, note, order):
        top = note("top")
        left, right = note("left", top), note("right", top)
        note("bottom", left, right)
        pool.execute()
        assert order == ["top", "left", "right", "bottom"]


class TestShapes:
    @pytest.mark.parametrize("make", [list, tuple, set, frozenset, iter, dict.fromkeys])
    def test_any_iterable(self, pool, make):
        jobs = [pool.submit(nothing) for _ in range(6)]
        after = pool.submit(nothing, deps=make(jobs))
        jobs[3].cancel()
        assert statuses(after) == ["cancelled"]
        pool.execute()

    def test_none_and_an_empty_list_mean_no_dependencies(self, pool):
        for deps in (None, [], (), set()):
            pool.submit(nothing, deps=deps)
        pool.execute()
        assert set(statuses(*pool.jobs)) == {"success"}

    @pytest.mark.parametrize("times", [2, 10])
    def test_the_same_job_several_times(self, pool, times):
        first = pool.submit(nothing)
        after = pool.submit(nothing, deps=[first] * times)
        pool.execute()
        assert statuses(after) == ["success"]

    def test_a_list_that_grows_between_jobs(self, pool):
        deps = [pool.submit(nothing) for _ in range(8)]
        before = pool.submit(nothing, deps=deps)
        deps.append(pool.submit(fail))
        after = pool.submit(nothing, deps=deps)
        with pytest.raises(WorkflowError):
            pool.execute()
        assert statuses(before, after) == ["success", "cancelled"]

    def test_one_list_of_many_shared_by_many(self, pool, note, order):
        early = [note(0) for _ in range(300)]
        late = [note(1, *early) for _ in range(300)]
        pool.execute()
        assert order == [0] * 300 + [1] * 300
        assert set(statuses(*late)) == {"success"}

    def test_a_finished_job(self, pool):
        later = []
        first = pool.submit(give, 1)
        pool.submit(lambda owner: later.append(pool.submit(nothing, deps=[first])))
        pool.execute()
        assert statuses(*later) == ["success"]


class TestFailures:
    def test_only_the_dependents_are_cancelled(self, pool):
        bad = pool.submit(fail)
        child = pool.submit(nothing, deps=[bad])
        grandchild = pool.submit(nothing, deps=[child])
        other = pool.submit(nothing)
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        assert len(raised.value.exceptions) == 1  # a cancelled job is not an error
        assert statuses(child, grandchild, other) == ["cancelled", "cancelled", "success"]
        for job in (child, grandchild):
            assert isinstance(job.error, JobCancelledError)
            assert str(job.error) == "Job killed for dependency failure"

    def test_one_of_many_dependencies_is_enough(self, pool):
        deps = [pool.submit(fail if n == 7 else nothing) for n in range(20)]
        afters = [pool.submit(nothing, deps=deps) for _ in range(20)]
        with pytest.raises(WorkflowError):
            pool.execute()
        assert set(statuses(*afters)) == {"cancelled"}

    def test_two_failed_dependencies_cancel_once(self, pool):
        after = pool.submit(nothing, deps=[pool.submit(fail), pool.submit(fail)])
        calls = []
        after.on_completion(calls.append)
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        assert calls == [after]
        assert len(raised.value.exceptions) == 2

    def test_a_job_queued_after_the_failure_is_cancelled_at_once(self, pool):
        later = []
        bad = pool.submit(fail)
        pool.submit(lambda owner: later.append(pool.submit(nothing, deps=[bad])))
        with pytest.raises(WorkflowError):
            pool.execute()
        assert statuses(*later) == ["cancelled"]
        assert str(later[0].error) == "Job killed for dependency failure"


class TestSize:
    DEPTH = 50_000

    def chain(self, pool, first):
        jobs = [pool.submit(first)]
        for _ in range(self.DEPTH):
            jobs.append(pool.submit(nothing, deps=[jobs[-1]]))
        return jobs

    def test_a_deep_chain_runs(self, pool):
        jobs = self.chain(pool, nothing)
        pool.execute()
        assert {job.status.value for job in jobs} == {"success"}

    def test_a_deep_chain_is_cancelled(self, pool):
        jobs = self.chain(pool, fail)
        with pytest.raises(WorkflowError):
            pool.execute()
        assert {job.status.value for job in jobs[1:]} == {"cancelled"}
        assert str(jobs[-1].error) == "Job killed for dependency failure"

    def test_a_wide_join_is_cancelled(self, pool):
        early = tuple(pool.submit(fail if n == 500 else nothing) for n in range(1_000))
        late = [pool.submit(nothing, deps=early) for _ in range(1_000)]
        with pytest.raises(WorkflowError):
            pool.execute()
        assert {job.status.value for job in late} == {"cancelled"}

    def test_a_stack_of_wide_joins_runs(self, pool):
        layer = ()
        for _ in range(20):
            layer = tuple(pool.submit(nothing, deps=layer) for _ in range(200))
        pool.execute()
        assert {job.status.value for job in pool.jobs} == {"success"}
