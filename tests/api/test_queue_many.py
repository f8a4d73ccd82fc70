"""`queue_many` does the same as a loop of `queue`."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbpool import JobPoolError, WorkflowError, create_job_pool, pool_cached_function

from .on_ranks import on_ranks
from .support import FAILS, SUCCEEDS, RecordingListener, fail, give, nothing, statuses


def say(owner, *args, **kwargs):
    """Return all arguments."""
    return owner, args, kwargs


def one_by_one(pool, f, argses, kwargs=None, deps=None, **context):
    """The loop that `queue_many` must be equal to."""
    return [pool.queue(f, args, kwargs, deps, **context) for args in argses]


def at_once(pool, f, argses, *rest, **context):
    return pool.queue_many(f, argses, *rest, **context)


BOTH = pytest.mark.parametrize("queue", [one_by_one, at_once])


@pytest.fixture
def recorder(pool):
    recorder = RecordingListener()
    pool.add_listener(recorder)
    return recorder


# ------------------------------------------------------------------ equal to a loop

VALUES = st.none() | st.integers() | st.text(max_size=5)
ARGSES = st.lists(st.none() | st.lists(VALUES, max_size=3) | st.tuples(VALUES, VALUES), max_size=8)
KWARGS = st.none() | st.dictionaries(st.sampled_from("abc"), VALUES)
CONTEXT = st.dictionaries(st.sampled_from(["submitter", "chunks", "other"]), st.just([1, 2]))


def outcome(queue, argses, kwargs, deps, context):
    """All observable properties of jobs that were queued in one of the two ways."""
    recorder = RecordingListener()
    with create_job_pool("owner", quiet=True) as pool:
        pool.add_listener(recorder)
        earlier = [pool.submit(nothing) for _ in range(6)]
        deps = None if deps is None else [earlier[place] for place in deps]
        jobs = queue(pool, say, argses, kwargs, deps, **context)
        assert pool.jobs == earlier + jobs
        results = pool.execute(return_results=True)
        return [
            (
                results[job], job.result, job.name, job.description, job.submitter, job.context,
                job._submit_ctx.chunks, job.serialize()[1:], recorder.steps_of(job),
                recorder.added.index(job), set(job._deps or ()) == set(deps or ()),
            )
            for job in jobs
        ]  # fmt: skip


@settings(deadline=None)
@given(ARGSES, KWARGS, st.none() | st.lists(st.integers(0, 5), max_size=8), CONTEXT)
def test_the_jobs_are_equal_to_those_of_a_loop(argses, kwargs, deps, context):
    looped = outcome(one_by_one, argses, kwargs, deps, context)
    assert outcome(at_once, argses, kwargs, deps, context) == looped
    assert [result[1] for result, *_ in looped] == [tuple(args or ()) for args in argses]


def test_argses_may_be_any_iterable(pool):
    jobs = pool.queue_many(say, zip("ab", "cd", strict=True))
    jobs += pool.queue_many(say, {("e",): None, ("f",): None})
    jobs += pool.queue_many(say, (part.split() for part in ("g h", "i")))
    jobs += pool.queue_many(say, [iter("jk"), {"l": 1}, None])
    pool.execute()
    assert ["".join(job.result[1]) for job in jobs] == [
        "ac",
        "bd",
        "e",
        "f",
        "gh",
        "i",
        "jk",
        "l",
        "",
    ]


def test_the_kwargs_are_read_when_the_jobs_are_queued(pool):
    kwargs = {"a": 1}
    [job] = pool.queue_many(say, [()], kwargs)
    kwargs["a"] = 2
    pool.execute()
    assert job.result[2] == {"a": 1}


def test_each_job_has_its_own_context(pool):
    first, second = pool.queue_many(nothing, [(), ()], submitter="me", about=[1])
    first.context["about"] = 2
    assert first.context == second.context == {"about": [1]}
    assert pool.get_submissions_of(first.submitter) == [first, second]


def test_a_generator_of_dependencies_applies_to_all_jobs(pool):
    earlier = [pool.submit(nothing) for _ in range(9)]
    jobs = pool.queue_many(nothing, [()] * 5, deps=(job for job in earlier))
    earlier[7].cancel()
    assert statuses(*jobs) == ["cancelled"] * 5
    pool.execute()


def test_a_failed_dependency_cancels_all_jobs(pool, recorder):
    bad = pool.submit(fail)
    jobs = pool.queue_many(nothing, [()] * 5, deps=[bad])
    others = pool.queue_many(give, zip(range(5)))
    with pytest.raises(WorkflowError):
        pool.execute()
    assert recorder.steps_of(bad) == FAILS
    assert [recorder.steps_of(job) for job in jobs] == [["pending > cancelled"]] * 5
    assert [recorder.steps_of(job) for job in others] == [SUCCEEDS] * 5
    assert [job.result for job in others] == list(range(5))


@BOTH
def test_cached_functions_are_kept_for_all_the_jobs(queue):
    calls = []

    @pool_cached_function
    def item():
        calls.append(1)
        return len(calls)

    def use(owner, _):
        return item()

    with create_job_pool(quiet=True) as pool:
        jobs = queue(pool, use, zip(range(5)), cache_items=[item])
        last = pool.submit(lambda owner: item(), deps=jobs)
        pool.execute()
        assert [job.result for job in jobs] == [1] * 5
        assert last.result == 2  # it did not declare that it needs the item
        assert [job.context for job in jobs] == [{}] * 5


@BOTH
def test_an_empty_argses_queues_no_jobs(pool, recorder, queue):
    assert queue(pool, nothing, []) == []
    assert queue(pool, nothing, iter(())) == []
    assert pool.execute(return_results=True) == {}
    assert recorder.added == []


# ------------------------------------------------------------------ generators of arguments


def test_a_generator_may_queue_jobs_itself(pool):
    def argses():
        for n in range(4):
            inner.append(pool.submit(give, n))
            inner.extend(pool.queue_many(give, [(10 * n,)]))
            yield (n,)

    inner = []
    jobs = pool.queue_many(say, argses())
    assert pool.jobs == [job for n in range(4) for job in (*inner[2 * n : 2 * n + 2], jobs[n])]
    pool.execute()
    assert [job.result[1] for job in jobs] == [(n,) for n in range(4)]
    assert [job.result for job in inner] == [0, 0, 1, 10, 2, 20, 3, 30]


def test_each_job_is_queued_before_the_next_arguments_are_read(pool):
    def argses():
        for n in range(5):
            assert len(pool.jobs) == n
            yield (pool.jobs[-1:],)

    jobs = pool.queue_many(lambda owner, before: before, argses())
    pool.execute()
    assert jobs[4].result == [[[[[]]]]]


def test_jobs_queued_before_an_error_remain(pool, recorder):
    def argses():
        yield (1,)
        yield (2,)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool.queue_many(give, argses())
    after = pool.submit(give, 3)
    assert list(pool.execute(return_results=True).values()) == [1, 2, 3]
    assert recorder.added == pool.jobs
    assert pool.jobs[2] is after


def test_a_generator_that_closes_the_pool():
    def argses():
        yield ()
        pool.__exit__(None, None, None)
        yield ()

    with pytest.raises(JobPoolError, match="open a new pool for more jobs"):
        pool = create_job_pool(quiet=True)
        pool.__enter__().queue_many(nothing, argses())


@pytest.mark.parametrize("n_threads", [1, 4])
def test_from_threads_and_jobs_while_the_pool_executes(pool, n_threads):
    def from_job(owner):
        threads = [
            threading.Thread(target=lambda n=n: made.extend(pool.queue_many(give, [(n,)] * 300)))
            for n in range(n_threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    made = []
    pool.submit(from_job)
    pool.execute()
    assert sorted(job.result for job in made) == sorted([*range(n_threads)] * 300)
    assert len(pool.jobs) == len(set(pool.jobs)) == 300 * n_threads + 1
    assert [job._id for job in pool.jobs] == list(range(len(pool.jobs)))


# ------------------------------------------------------------------ errors


class TestErrors:
    @pytest.mark.parametrize("f", [None, 3, "print", [nothing]])
    def test_an_object_that_is_not_callable(self, pool, f):
        with pytest.raises(TypeError, match=r"^f must be callable, got "):
            pool.queue_many(f, [()])

    @pytest.mark.parametrize("argses", ["ab", b"ab", 5, 0, None, 1.5, nothing])
    def test_argses_that_are_not_iterable(self, pool, argses):
        with pytest.raises(TypeError, match=r"^argses must be .*\[\(x,\), \(y,\)\]"):
            pool.queue_many(give, argses)

    @pytest.mark.parametrize("args", ["abc", b"abc", 5, 0, False, 1.5, nothing])
    def test_args_that_are_not_a_list(self, pool, args):
        with pytest.raises(TypeError, match=r"^args must be .*, got .*; use \(x,\)"):
            pool.queue_many(give, [(1,), args, (2,)])
        assert list(pool.execute(return_results=True).values()) == [1]

    @pytest.mark.parametrize("kwargs", ["abc", 5, 0, [("value", 1)], ("value",), nothing])
    def test_kwargs_that_are_not_a_mapping(self, pool, kwargs):
        with pytest.raises(TypeError, match=r"^kwargs must be a mapping of names to values, got "):
            pool.queue_many(give, [(1,)], kwargs)

    @pytest.mark.parametrize("deps", [3, 0, nothing])
    def test_deps_that_are_not_a_list(self, pool, deps):
        for wrong in (deps, pool.submit(nothing)):
            with pytest.raises(TypeError, match=r"^deps must be a list .*; use deps=\[job\]"):
                pool.queue_many(nothing, [()], deps=wrong)

    @pytest.mark.parametrize("dep", [None, 0, "job", nothing])
    def test_deps_that_are_not_jobs(self, pool, dep):
        with pytest.raises(TypeError, match=r"^deps must contain jobs .*, got "):
            pool.queue_many(nothing, [()], deps=[pool.submit(nothing), dep])

    def test_deps_of_another_pool(self, pool):
        with create_job_pool(quiet=True) as other:
            foreign = [other.submit(nothing) for _ in range(6)]
            with pytest.raises(JobPoolError, match=r"^deps contains job.* not in this pool"):
                pool.queue_many(nothing, [()], deps=foreign)

    @pytest.mark.parametrize("item", ["abc", 1.5, object()])
    def test_unknown_cache_items(self, pool, item):
        with pytest.raises(TypeError, match=r"^cache_items must contain ids, .* got "):
            pool.queue_many(nothing, [()], cache_items=[item])

    def test_a_closed_pool(self):
        with create_job_pool(quiet=True) as pool:
            pool.execute()
            with pytest.raises(JobPoolError, match="open a new pool for more jobs"):
                pool.queue_many(nothing, [()])
        with pytest.raises(JobPoolError, match="open a new pool for more jobs"):
            pool.queue_many(nothing, [])

    def test_errors_leave_the_pool_unchanged(self, pool):
        good = pool.submit(nothing)
        some = {"argses": [()]}
        for bad in ({"argses": 3}, {"argses": [3]}, some | {"deps": 3}, some | {"kwargs": 3}):
            with pytest.raises(TypeError):
                pool.queue_many(nothing, **bad)
        pool.execute()
        assert pool.jobs == [good]


# ------------------------------------------------------------------ on several ranks


@on_ranks(3)
def test_on_several_ranks():
    import numpy as np

    def scale(owner, n, factor, array=None):
        return n * factor if array is None else n * array

    recorder = RecordingListener()
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.add_listener(recorder)
            many = pool.queue_many(scale, zip(range(2_000), [3] * 2_000, strict=True))
            arrays = pool.queue_many(
                scale, ((n, None) for n in range(5)), {"array": np.ones(9_000)}, deps=many,
                submitter="me",
            )  # fmt: skip
            wide = pool.queue_many(give, zip(["ä" * 300] * 5), deps=arrays)
            pool.submit(lambda owner: None, deps=arrays).on_completion(
                lambda job: wide.extend(pool.queue_many(give, zip("late"), deps=wide))
            )
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert [results[job] for job in many] == [3 * n for n in range(2_000)]
            for n, job in enumerate(arrays):
                assert (results[job] == n).all()
                assert results[job].size == 9_000
            assert [results[job] for job in wide] == ["ä" * 300] * 5 + list("late")
            assert all(recorder.steps_of(job) == SUCCEEDS for job in (*arrays, *wide))
            assert pool.get_submissions_of(arrays[0].submitter) == arrays
            assert len(recorder.added) == len(pool.jobs) == 2_000 + 5 + 9 + 1
        else:
            assert results == {}
