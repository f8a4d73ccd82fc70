"""Pools and jobs are freed; while a pool is open, the collector does not traverse its jobs."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from bsbpool import Job, SubmissionContext, create_job_pool
from bsbpool.function_job import FunctionJob
from bsbpool.serialization import dumps, loads, out_of_band

from .on_ranks import on_ranks
from .support import RecordingListener, nothing


class Value:
    """An object that can be weakly referenced."""


class Own(Job):
    """A user-defined subclass of Job."""

    @staticmethod
    def execute(job_owner, args, kwargs):
        return args


def holding(*held):
    """Return a function that does nothing and holds the arguments in its closure."""

    def hold(*_):
        assert held

    return hold


def make_cycles(pool, n=20):
    """Queue jobs in reference cycles; return a weak reference to an object that they hold."""
    jobs = []
    value = Value()
    jobs += [pool.queue(holding(jobs, value), (n,)) for n in range(n)]
    jobs += pool.queue_many(holding(jobs, value), [(jobs,)] * 3)
    jobs.append(pool.queue(holding(jobs, value), deps=jobs[:10]))
    jobs.append(pool.queue(holding(jobs, value), deps=set(jobs[:10])))
    jobs.append(pool.put(FunctionJob(pool, holding(jobs, value), (), {})))
    jobs.append(pool.put(Own(pool, SubmissionContext(value, jobs=jobs), (value, 1), {})))
    jobs[0].on_completion(holding(jobs, value))
    return weakref.ref(value)


def is_gone(ref):
    gc.collect()
    return ref() is None


# ------------------------------------------------------------------ what is freed


@pytest.mark.parametrize("executes", [True, False])
@pytest.mark.parametrize("listens", [True, False])
def test_cycles_of_jobs_are_collected_after_the_block(executes, listens):
    def use():
        with create_job_pool(quiet=True) as pool:
            if listens:
                pool.add_listener(RecordingListener())
            ref = make_cycles(pool)
            if executes:
                pool.execute()
            assert not is_gone(ref)
        return ref, weakref.ref(pool)

    value, pool = use()
    assert is_gone(value)
    assert is_gone(pool)


def test_cycles_of_results_are_collected_after_the_block():
    def use():
        value = Value()
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.submit(lambda owner: (value, jobs, pool)) for _ in range(5)]
            pool.execute()
            assert jobs[0].result[1] is jobs
        return weakref.ref(value), weakref.ref(pool)

    for ref in use():
        assert is_gone(ref)


def test_cycles_of_jobs_are_collected_after_an_exception():
    def use():
        with pytest.raises(ZeroDivisionError), create_job_pool(quiet=True) as pool:
            refs.append(make_cycles(pool))
            raise ZeroDivisionError

    refs = []
    use()
    assert is_gone(refs[0])


@pytest.mark.parametrize("n", [0, 1, 40])
def test_a_pool_that_was_never_entered_is_freed_with_its_jobs(n):
    def use():
        pool = create_job_pool(quiet=True)
        return make_cycles(pool, n) if n else None, weakref.ref(pool)

    value, pool = use()
    assert is_gone(pool)
    assert value is None or is_gone(value)


@pytest.mark.parametrize("n", [1, 3, 4, 40])
def test_a_handle_does_not_keep_other_handles_alive(n):
    """Results and dependencies are freed with the pool, even if some handles stay."""

    def use():
        value = Value()
        with create_job_pool(quiet=True) as pool:
            first = [pool.submit(lambda owner, v: v, value) for _ in range(n)]
            second = pool.submit(nothing, deps=first)
            pool.execute()
        return weakref.ref(value), second

    value, kept = use()
    assert kept.status.value == "success"
    assert kept._deps is None
    assert is_gone(value)


def test_a_handle_is_freed_at_once_with_its_last_reference():
    """Without a cycle the collector is not needed."""
    gc.collect()
    gc.disable()
    try:
        value = Value()
        ref = weakref.ref(value)
        with create_job_pool(quiet=True) as pool:
            job = pool.queue(nothing, (), about=value)
            pool.queue(nothing, (), about=value)
        del value
        assert ref() is not None
        del job
        assert ref() is None
    finally:
        gc.enable()


def test_many_pools_leave_no_objects_behind():
    def use():
        with create_job_pool(quiet=True) as pool:
            make_cycles(pool)
            pool.execute()

    for _ in range(5):
        use()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        use()
    gc.collect()
    assert len(gc.get_objects()) - before < 20


# ------------------------------------------------------------------ what the collector tracks


def test_handles_are_untracked_while_the_pool_is_open():
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(nothing), pool.queue(nothing, (), about=[])]
        jobs += pool.queue_many(nothing, [(), ()])
        assert not any(map(gc.is_tracked, jobs))
        pool.submit(lambda owner: jobs.append(pool.submit(nothing)))
        pool.execute()
        assert len(jobs) == 5
        assert not any(map(gc.is_tracked, jobs))
    assert all(map(gc.is_tracked, jobs))


def test_handles_of_a_pool_that_is_not_entered_are_tracked():
    pool = create_job_pool(quiet=True)
    job = pool.submit(nothing)
    assert gc.is_tracked(job)
    with pool:
        late = pool.submit(nothing)
        assert gc.is_tracked(job)
        assert not gc.is_tracked(late)
    assert gc.is_tracked(job)
    assert gc.is_tracked(late)


def test_user_defined_jobs_are_always_tracked(pool):
    job = pool.put(Own(pool, SubmissionContext(None), (), {}))
    assert gc.is_tracked(job)


@pytest.mark.parametrize("holder", ["list", "dependent", "results", "callback", "kwargs"])
def test_every_handle_is_tracked_after_the_block(holder):
    """Also a handle that only a result of the pool refers to."""
    kept = []
    with create_job_pool(quiet=True) as pool:
        job = pool.queue(nothing)
        if holder == "list":
            kept.append(job)
        elif holder == "dependent":
            kept.append(pool.queue(lambda owner, others: None, ((job,),)))
        elif holder == "callback":
            job.on_completion(kept.append)
        elif holder == "kwargs":
            kept.append(pool.queue(nothing, about=job))
        results = pool.execute(return_results=True)
        if holder == "results":
            kept.append(results)
        del job, results
    for one in kept:
        found = [one, *gc.get_referents(one)]
        found += [group for groups in found if type(groups) is tuple for group in groups]
        handles = [obj for obj in found if isinstance(obj, Job)]
        handles += [obj for group in found if type(group) in (dict, tuple) for obj in group]
        assert handles
        assert all(gc.is_tracked(obj) for obj in handles if isinstance(obj, Job))


def test_the_collector_may_run_at_any_time():
    thresholds = gc.get_threshold()
    gc.set_threshold(5, 1, 1)
    try:
        for _ in range(10):
            with create_job_pool(quiet=True) as pool:
                jobs = [pool.submit(lambda owner: gc.collect(0)) for _ in range(20)]
                pool.queue_many(nothing, [()] * 5, deps=jobs)
                pool.execute()
                jobs[3] = None
            assert all(gc.is_tracked(job) for job in jobs if job)
    finally:
        gc.set_threshold(*thresholds)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_buffers_of_pickles_may_be_in_a_reference_cycle():
    for n in range(20):
        array = np.arange(n, n + 10_000)
        payload, buffers = dumps(array)
        packed: list[object] = [*buffers, *out_of_band(buffers)]
        assert (loads(payload, out_of_band(buffers)) == array).all()
        packed += [packed, *out_of_band(buffers)]
        del buffers, packed
        gc.collect()  # crashes when it clears a buffer before the object that exposes it


# ------------------------------------------------------------------ on several ranks


@on_ranks(2)
def test_cycles_of_jobs_are_collected_on_all_ranks():
    def give_large(owner):
        return np.ones(100_000)

    def use():
        value = Value()
        with create_job_pool(quiet=True) as pool:
            if pool.is_main():
                jobs = [pool.queue(give_large, (), about=(value, lambda: jobs)) for _ in range(20)]
                pool.queue(nothing, (), deps=jobs, about=(value, lambda: jobs))
                jobs[0].on_completion(holding(jobs, value))
                assert not any(map(gc.is_tracked, jobs))
            pool.execute()
        return weakref.ref(value), weakref.ref(pool)

    for ref in use():
        assert is_gone(ref)
