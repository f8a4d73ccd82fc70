"""The options of jobs: their values, and the views that apply them."""

from __future__ import annotations

import dataclasses

import pytest

from bsbpool import JobPool, arguments, create_job_pool
from bsbpool.options import JobOptions, OptionValues

from .support import give

REFUSED = [
    ("name", 3),
    ("deps", "ab"),
    ("deps", [1]),
    ("after_any", 1),
    ("on_failure", [None]),
    ("on_end", object()),
    ("targets", 1),
    ("targets", [1.5]),
    ("targets", []),
    ("targets", "12"),
    ("follow", "job"),
    ("follow_grace", -1),
    ("priority", 1.5),
    ("priority", True),
    ("priority", 2**31),
    ("retries", -1),
    ("retries", "2"),
    ("retry_on", ValueError()),
    ("retry_on", int),
    ("retry_on", (ValueError, 3)),
    ("retry_elsewhere", "no"),
    ("retries_if_lost", None),
    ("timeout", "1 s"),
    ("timeout", float("nan")),
    ("dependency_timeout", -0.1),
    ("resources", ["gpu"]),
    ("resources", {1: 2}),
    ("resources", {"gpu": [1]}),
    ("capture_output", 2),
    ("seed", -1),
    ("seed", "x"),
    ("keep", "nowhere"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=repr)
def test_a_wrong_value_is_refused_at_the_call(pool, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b"):
        pool.options(**{name: value})


def test_a_job_as_a_list_of_jobs_is_refused(pool):
    with pytest.raises(TypeError, match=r"use deps=\[job\]"):
        pool.options(deps=pool.submit(give, 1))


@pytest.mark.parametrize(
    ("unknown", "hint"), [("retry", r"mean retr.*=\?"), ("prioritty", r"priority=\?"), ("q", "")]
)
def test_an_unknown_option_is_refused_with_the_names_that_exist(pool, unknown, hint):
    with pytest.raises(TypeError, match=f"unexpected option '{unknown}'.*{hint}.*after_any"):
        pool.options(**{unknown: 1})
    with pytest.raises(TypeError, match="unexpected option"):
        pool.options(priority=1).options(**{unknown: 1})


def test_the_names_are_the_same_everywhere():
    fields = {field.name for field in dataclasses.fields(JobOptions)} - {"given"}
    assert fields == set(OptionValues.__annotations__) == {*arguments.OPTIONS, "deps"}


def test_a_view_passes_all_keywords_to_the_function(pool):
    def f(owner, *args, deps=0, name="", **more):
        return args, deps, name, more

    view = pool.options(name="the name")
    one = view.submit(f, 1, deps=2, name="x", priority=3)
    two = view.queue(f, (1,), {"deps": 4}, [one], tag="context")
    three = view.queue_many(f, [(1,), (2,)], {"name": "y"}, iter([one, two]))
    four = view.map(f, [1, 2], [3, 4, 5])
    pool.execute()
    assert one.result == ((1,), 2, "x", {"priority": 3})
    assert two.result == ((1,), 4, "", {})
    assert two.context == {"tag": "context"}
    assert [job.result for job in three] == [((n,), 0, "y", {}) for n in (1, 2)]
    assert all(job._deps == (one, two) for job in three)
    assert [job.result[0] for job in four] == [(1, 3), (2, 4)]
    assert one.label == "job 0 'the name'"
    assert one.name == "the name"


def test_views_of_views_replace_single_options(pool):
    first = pool.submit(give, 1)
    view = pool.options(priority=1, name="a", deps=[first])
    other = view.options(name="b")
    assert (other.values.priority, other.values.name, other.values.deps) == (1, "b", (first,))
    assert view.values.name == "a"
    assert "priority=1" in repr(view)
    assert other.submit(give, 2)._deps == (first,)
    pool.execute()


def test_plain_jobs_have_no_options(pool):
    job = pool.submit(give, 1)
    assert job.options is None
    assert pool.options().submit(give, 1).options == JobOptions()
    pool.execute()


def test_a_pool_with_its_own_put_gets_the_jobs_of_views():
    class Own(JobPool):
        def put(self, job):
            put.append(job)
            return super().put(job)

    put = []
    with Own(1, None) as pool:
        job = pool.options(name="x").submit(give, 1)
        assert put == [job]
        pool.execute()
        assert job.result == 1


@pytest.mark.filterwarnings("error")
def test_an_option_given_to_queue_warns_of_what_to_write(pool):
    for name in sorted(arguments.OPTIONS):
        with pytest.raises(UserWarning, match=rf"write pool.options\({name}=\.\.\.\)\.queue"):
            pool.queue(give, (1,), **{name: None})


def test_a_closed_pool_takes_no_jobs():
    with create_job_pool(quiet=True) as pool:
        view = pool.options(priority=1)
    with pytest.raises(Exception, match="block"):
        view.submit(give, 1)
