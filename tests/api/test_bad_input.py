"""Bad arguments raise at the call, with the name and the remedy, and change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bsbpool import Job, JobPoolError, SubmissionContext, create_job_pool
from bsbpool.function_job import FunctionJob

from .support import give, nothing, statuses


class Unfinished(Job):
    """A subclass of Job without `execute`."""


class TestQueue:
    @pytest.mark.parametrize("f", [None, 3, "print", [nothing]])
    def test_an_object_that_is_not_callable(self, pool, f):
        with pytest.raises(TypeError, match=r"^f must be callable, got "):
            pool.queue(f)

    def test_a_call_instead_of_a_function(self, pool):
        with pytest.raises(TypeError, match="give a function, and its arguments in args"):
            pool.queue(nothing(None))

    @pytest.mark.parametrize("args", ["abc", b"abc", 5, 0, False, 1.5, nothing])
    def test_args_that_are_not_a_list(self, pool, args):
        with pytest.raises(TypeError, match=r"^args must be .*, got .*; use \(x,\)"):
            pool.queue(give, args)

    @pytest.mark.parametrize("kwargs", ["abc", 5, 0, [("value", 1)], ("value",), nothing])
    def test_kwargs_that_are_not_a_mapping(self, pool, kwargs):
        with pytest.raises(TypeError, match=r"^kwargs must be a mapping of names to values, got "):
            pool.queue(give, (), kwargs)

    @pytest.mark.parametrize("item", ["abc", 1.5, object()])
    def test_unknown_cache_items(self, pool, item):
        with pytest.raises(TypeError, match=r"^cache_items must contain ids, .* got "):
            pool.queue(nothing, cache_items=[item])

    @pytest.mark.parametrize(
        "args", [np.arange(2), np.zeros(0), range(2), iter("ab"), {0: 1, 1: 1}], ids=type
    )
    def test_any_iterable_is_a_list_of_args(self, pool, args):
        job = pool.queue(lambda owner, *args: len(args), args)
        pool.execute()
        assert job.result in (0, 2)


class TestDependencies:
    def test_a_single_job(self, pool):
        job = pool.submit(nothing)
        with pytest.raises(TypeError, match=r"^deps must be a list .*; use deps=\[job\]"):
            pool.queue(nothing, deps=job)

    @pytest.mark.parametrize("deps", [3, 0, nothing])
    def test_deps_that_are_not_a_list(self, pool, deps):
        with pytest.raises(TypeError, match=r"^deps must be a list .*; use deps=\[job\]"):
            pool.queue(nothing, deps=deps)

    @pytest.mark.parametrize("dep", [None, 0, "job", nothing])
    def test_an_object_that_is_not_a_job(self, pool, dep):
        job = pool.submit(nothing)
        with pytest.raises(TypeError, match=r"^deps must contain jobs .*, got "):
            pool.queue(nothing, deps=[job, dep])

    def test_a_job_of_another_pool(self, pool):
        with create_job_pool(quiet=True) as other:
            foreign = other.submit(nothing)
            with pytest.raises(JobPoolError, match=r"^deps contains job 0 .*; queue it here"):
                pool.queue(nothing, deps=[foreign])

    def test_a_job_that_was_not_put(self, pool):
        loose = FunctionJob(pool, nothing, (), {})
        with pytest.raises(JobPoolError, match=r"^deps contains job.* not in this pool"):
            pool.queue(nothing, deps=[loose])


class TestPut:
    def test_a_job_twice(self, pool):
        job = pool.submit(nothing)
        with pytest.raises(JobPoolError, match="already"):
            pool.put(job)
        assert pool.jobs == [job]

    def test_a_job_that_was_made_for_another_pool(self, pool):
        with (
            create_job_pool(quiet=True) as other,
            pytest.raises(JobPoolError, match=r"another pool|this pool"),
        ):
            pool.put(FunctionJob(other, nothing, (), {}))
        assert pool.jobs == []

    def test_an_object_that_is_not_a_job(self, pool):
        with pytest.raises(TypeError, match="job"):
            pool.put(nothing)

    def test_a_job_without_an_execute_cannot_be_made(self, pool):
        with pytest.raises(TypeError, match="abstract"):
            Unfinished(pool, SubmissionContext(None), (), {})


class TestHandles:
    def test_ending_a_job_that_is_in_no_pool(self, pool):
        loose = FunctionJob(pool, nothing, (), {})
        for misuse in (loose.cancel, lambda: loose.set_result(1), loose.run):
            with pytest.raises(JobPoolError, match="put"):
                misuse()

    @pytest.mark.parametrize(
        "misuse",
        [Job.run, lambda job: job.set_result(1), lambda job: job.set_exception(ValueError())],
        ids=["run", "set_result", "set_exception"],
    )
    def test_ending_a_finished_job_again_changes_nothing(self, pool, misuse):
        job = pool.submit(give, "first")
        job.run()
        with pytest.raises(JobPoolError, match=r"success|finished|ended"):
            misuse(job)
        later = pool.submit(give, "later")
        pool.execute()
        assert (job.result, job.error, later.result) == ("first", None, "later")

    def test_running_a_job_before_its_dependencies_changes_nothing(self, pool):
        first = pool.submit(give, 1)
        second = pool.submit(give, 2, deps=[first])
        with pytest.raises(JobPoolError, match=r"not all of its dependencies"):
            second.run()
        pool.execute()
        assert second.result == 2

    def test_a_callback_that_is_not_callable(self, pool):
        with pytest.raises(TypeError, match="cb"):
            pool.submit(nothing).on_completion(3)


class TestListeners:
    @pytest.mark.parametrize("listener", [None, 3, "print"])
    def test_a_listener_that_is_not_callable(self, pool, listener):
        with pytest.raises(TypeError, match=r"^listener must be callable, got "):
            pool.add_listener(listener)


def test_a_refused_job_leaves_the_pool_as_it_was(pool):
    job = pool.submit(nothing)
    for bad in ({"args": 3}, {"deps": [job, 3]}, {"cache_items": [1.5]}, {"kwargs": 3}):
        with pytest.raises(TypeError):
            pool.queue(nothing, **bad)
    after = pool.submit(give, 1, deps=[job])
    pool.execute()
    assert pool.jobs == [job, after]
    assert statuses(job, after) == ["success", "success"]
