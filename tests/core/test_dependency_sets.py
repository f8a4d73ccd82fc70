"""Sets of dependencies: equal ones are shared, whatever they come in; different ones never."""

import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbpool import JobPoolError, JobStatus, create_job_pool
from bsbpool._core.testing.tables import read_dependencies
from bsbpool.function_job import FunctionJob

N_JOBS = 30
SMALLEST = 4  # number of members from which on a join is made
REMEMBERED = 1024


def nothing(owner):
    pass


def generator(jobs):
    yield from jobs


def sparse(jobs):
    """A set whose table is as large as before most of its members were removed."""
    fillers = [object() for _ in range(50)]
    table = {*jobs, *fillers}
    table.difference_update(fillers)
    return table


def again(jobs):
    return [*jobs, *jobs[:2]]


FORMS = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "generator": generator,
    "backwards": lambda jobs: jobs[::-1],
    "dict": dict.fromkeys,
}
"""Types of collections whose equal contents get the same join."""
LOOSE_FORMS = FORMS | {"doubles": again, "sparse": sparse, "doubled tuple": lambda a: (*a, *a)}
"""The same and types whose equal contents may get another join."""


@pytest.fixture
def pool():
    with create_job_pool(quiet=True) as pool:
        for _ in range(N_JOBS):
            pool.submit(nothing)
        yield pool


@pytest.fixture
def of(pool):
    return partial(read_dependencies, pool._sets)


@pytest.fixture
def jobs(pool):
    return pool.jobs


def some(jobs, n, seed=0):
    return random.Random(seed).sample(jobs, n)


# ------------------------------------------------------------------ equal sets


@pytest.mark.parametrize("n", [4, 5, 9, 30])
def test_equal_contents_share_a_join_in_any_form_and_order(of, jobs, n):
    [ids, join] = of(jobs[:n])
    assert ids == []
    assert join >= 0
    for form in FORMS.values():
        for seed in range(3):
            assert of(form(some(jobs[:n], n, seed))) == ([], join)


@pytest.mark.parametrize("form", LOOSE_FORMS)
def test_the_same_object_gets_the_same_join_each_time(of, jobs, form):
    deps = LOOSE_FORMS[form](some(jobs, 9))
    deps = list(deps) if form == "generator" else deps
    assert len({of(deps)[1] for _ in range(5)}) == 1


@pytest.mark.parametrize("form", LOOSE_FORMS)
@pytest.mark.parametrize("n", range(SMALLEST))
def test_small_sets_are_ids_without_duplicates(of, jobs, form, n):
    ids, join = of(LOOSE_FORMS[form](jobs[5 : 5 + n]))
    assert (sorted(ids), join) == (list(range(5, 5 + n)), -1)


@pytest.mark.parametrize("times", [2, 5, 40])
def test_small_sets_are_ids_however_often_a_job_occurs(of, jobs, times):
    ids, join = of(jobs[:3] * times)
    assert (sorted(ids), join) == ([0, 1, 2], -1)


def test_none_means_no_dependencies(of):
    assert of(None) == ([], -1)


# ------------------------------------------------------------------ different sets


@pytest.mark.parametrize("form", LOOSE_FORMS)
@pytest.mark.parametrize("n", [4, 9, 20])
def test_one_member_swapped_is_another_set(of, jobs, form, n):
    joins = {of(LOOSE_FORMS[form](jobs[:n]))[1]}
    for out in range(n):
        swapped = jobs[:n]
        swapped[out] = jobs[n]
        joins.add(of(LOOSE_FORMS[form](swapped))[1])
    assert len(joins) == n + 1
    assert -1 not in joins


CHANGES = {
    "add": lambda live, jobs: live.add(jobs[20]),
    "discard": lambda live, jobs: live.discard(jobs[3]),
    "discard and add": lambda live, jobs: (live.discard(jobs[3]), live.add(jobs[20])),
    "clear and update": lambda live, jobs: (live.clear(), live.update(jobs[10:20])),
    "one other": lambda live, jobs: (live.clear(), live.update([*jobs[:9], jobs[20]])),
    "pop": lambda live, jobs: live.pop(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_set_that_changed_in_place_gets_another_join(of, jobs, change):
    live = set(jobs[:10])
    before = of(live)
    assert of(live) == before
    CHANGES[change](live, jobs)
    after = of(live)
    assert after != before
    assert of(live) == after
    assert of(set(jobs[:10])) == before


@pytest.mark.parametrize(
    "change", [list.pop, list.clear, lambda deps: deps.__setitem__(0, deps[1])]
)
def test_a_list_that_changed_in_place_gets_another_join(of, jobs, change):
    live = jobs[:10]
    before = of(live)
    change(live)
    assert of(live) != before


def test_a_set_in_the_memory_of_a_freed_one(of, jobs):
    """Tuples and sets of one size are allocated at the same address."""
    joins = set()
    for kind in (tuple, frozenset, set):
        for start in range(20):
            joins.add((of(kind(jobs[start : start + 9]))[1], start))
    assert len(joins) == 20
    assert len({join for join, _ in joins}) == 20


# ------------------------------------------------------------------ against an oracle

PLACES = st.lists(st.integers(0, N_JOBS - 1), unique=True, max_size=12)
PLACE = st.integers(0, N_JOBS - 1)
STEPS = st.lists(
    st.tuples(st.just("ask"), st.sampled_from(sorted(LOOSE_FORMS)), PLACES)
    | st.tuples(st.just("again"), st.none(), st.integers(0, 40))
    | st.tuples(st.sampled_from(["add", "discard"]), st.none(), PLACE)
    | st.tuples(st.just("refill"), st.none(), PLACES),
    max_size=40,
)


class Asker:
    """Requests joins for sets of any type and compares them with the contents of the sets."""

    def __init__(self, pool):
        self.read, self.jobs = partial(read_dependencies, pool._sets), pool.jobs
        self.contents = {}  # of each join
        self.joins = {}  # of contents in builtin types
        self.live = set(self.jobs[:6])
        self.pure = True  # the live set's table holds nothing of removed members
        self.asked = []

    def step(self, kind, form, what):
        if kind == "ask":
            jobs = [self.jobs[place] for place in what]
            self.ask(jobs, LOOSE_FORMS[form](jobs), form in FORMS)
            self.asked.append((what, form))
        elif kind == "again" and self.asked:
            self.step("ask", *self.asked[what % len(self.asked)][::-1])
        elif kind in ("add", "discard"):
            getattr(self.live, kind)(self.jobs[what])
            self.pure = self.pure and kind == "add"
        elif kind == "refill":
            self.live.clear()
            self.live.update(self.jobs[place] for place in what)
            self.pure = True
        self.ask(list(self.live), self.live, self.pure)

    def ask(self, jobs, deps, plain):
        contents = frozenset(jobs)
        ids, join = self.read(deps)
        if len(contents) < SMALLEST:
            assert join == -1
            assert sorted(ids) == sorted(job._id for job in contents)
            return
        assert ids == []
        assert self.contents.setdefault(join, contents) == contents
        if plain:
            assert self.joins.setdefault(contents, join) == join


@settings(deadline=None)
@given(STEPS)
def test_joins_and_sets_correspond(steps):
    with create_job_pool(quiet=True) as pool:
        for _ in range(N_JOBS):
            pool.submit(nothing)
        asker = Asker(pool)
        for step in steps:
            asker.step(*step)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(LOOSE_FORMS)), PLACES), max_size=12), PLACE)
def test_a_job_is_cancelled_with_any_of_its_dependencies_and_no_other(sets, gone):
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(nothing) for _ in range(N_JOBS)]
        waiters = []
        for form, places in sets * 2:
            deps = LOOSE_FORMS[form]([jobs[place] for place in places])
            waiters.append((gone in places, pool.submit(nothing, deps=deps)))
        jobs[gone].cancel()
        for hit, waiter in waiters:
            assert waiter.status is (JobStatus.CANCELLED if hit else JobStatus.PENDING)
        pool.execute()
        assert all(hit or waiter.status is JobStatus.SUCCESS for hit, waiter in waiters)


def test_a_join_is_made_once_for_each_of_many_sets(of, jobs):
    draw = random.Random(0)
    sets = list({frozenset(draw.sample(jobs, draw.randint(4, 12))) for _ in range(1_000)})
    assert len(sets) < REMEMBERED
    joins = [of(deps)[1] for deps in sets]
    assert len(set(joins)) == len(sets)
    for form in FORMS.values():
        assert [of(form(list(deps)))[1] for deps in sets] == joins


def test_evicted_sets_get_a_new_join(of, jobs):
    draw = random.Random(0)
    sets = list({frozenset(draw.sample(jobs, 8)) for _ in range(3 * REMEMBERED)})
    contents = {}
    for deps in sets * 2:
        assert contents.setdefault(of(tuple(deps))[1], deps) == deps
    newest = sets[-100:]
    assert {of(deps)[1] for deps in newest} <= set(contents)


def test_a_handle_keeps_the_given_dependencies(pool, jobs):
    deps = some(jobs, 8)
    for form in FORMS.values():
        assert set(pool.submit(nothing, deps=form(deps))._deps) == set(deps)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("form", sorted({*LOOSE_FORMS} - {"dict"}))
@pytest.mark.parametrize("n", [0, 8])
@pytest.mark.parametrize("wrong", [3, None, nothing], ids=str)
def test_members_that_are_not_jobs_are_refused_each_time(of, jobs, form, n, wrong):
    for _ in range(2):
        with pytest.raises(TypeError, match=r"^deps must contain jobs .*, got "):
            of(LOOSE_FORMS[form]([*jobs[:n], wrong]))
    assert of(jobs[:8]) == of(frozenset(jobs[:8]))


@pytest.mark.parametrize("form", LOOSE_FORMS)
@pytest.mark.parametrize("n", [0, 8])
def test_jobs_of_other_pools_are_refused_each_time(pool, of, jobs, form, n):
    with create_job_pool(quiet=True) as other:
        foreign = [other.submit(nothing) for _ in range(N_JOBS)]
        assert of(jobs[: n + 1]) is not None  # the same numbers, of another pool
        for foreign_job in (foreign[n], FunctionJob(pool, nothing, (), {})):
            for _ in range(2):
                with pytest.raises(JobPoolError, match=r"^deps contains job.* not in this pool"):
                    of(LOOSE_FORMS[form]([*jobs[:n], foreign_job]))


@pytest.mark.parametrize("wrong", [3, 0.5, nothing, ...], ids=str)
def test_arguments_that_are_not_lists_are_refused(of, jobs, wrong):
    for deps in (wrong, jobs[0]):
        with pytest.raises(TypeError, match=r"^deps must be a list .*; use deps=\[job\]"):
            of(deps)


def test_the_error_of_a_generator_is_raised(of, jobs):
    def broken():
        yield from jobs[:8]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        of(broken())
