"""A pool on several ranks: where jobs run, in which order, and what their results are."""

from __future__ import annotations

import functools
import itertools
import os
from typing import Any

import pytest

from bsbpool import (
    JobPoolContextError,
    JobPoolError,
    JobStatus,
    WorkflowError,
    create_job_pool,
)

from .support import MAIN, WORKERS, WORLD, fail, give, pool_works, rank, run, work

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]


class Scale:
    """A callable object with a method."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, owner: Any, n: int) -> int:
        return self.factor * n

    __call__ = times

    @classmethod
    def twice(cls, owner: Any, n: int) -> int:
        return cls(2).factor * n

    @staticmethod
    def thrice(owner: Any, n: int) -> int:
        return 3 * n


class Pair:
    """The result of a job whose function is a class."""

    def __init__(self, owner: Any, n: int) -> None:
        self.sum = n + n


# ------------------------------------------------------------ results


def test_results_are_in_the_order_of_queueing() -> None:
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(2_000)] if MAIN else []
        results = pool.execute(return_results=True)
        assert list(results) == jobs
        assert list(results.values()) == list(range(len(jobs)))
        assert [job.result for job in jobs] == list(range(len(jobs)))
        assert {job.status for job in jobs} <= {JobStatus.SUCCESS}


def test_execute_returns_none_by_default() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            pool.submit(give)
        assert pool.execute() is None


def test_jobs_run_on_all_ranks_that_work() -> None:
    ran = run(lambda pool: [pool.submit(work, 0.02) for _ in range(8 * len(WORKERS))])
    if MAIN:
        assert {job.rank for job in ran} == set(WORKERS)


def test_a_pool_without_jobs() -> None:
    assert run(lambda pool: []) in ([], None)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_numbers_of_jobs_near_the_number_of_ranks(n: int) -> None:
    results = run(lambda pool: [pool.submit(give, i) for i in range(n)])
    assert results in (list(range(n)), None)


def test_each_rank_passes_its_own_owner() -> None:
    def fill(pool):
        return [pool.submit(lambda owner: (owner["rank"], WORLD.rank)) for _ in range(50)]

    for mine, its in run(fill, owner={"rank": WORLD.rank}) or ():
        assert mine == its


def test_a_job_may_change_its_owner_for_later_jobs_of_that_rank() -> None:
    def count(owner):
        owner.append(1)
        return len(owner), WORLD.rank

    def fill(pool):
        return [pool.submit(count) for _ in range(60)]

    counts = run(fill, owner=[])
    if MAIN:
        for worker in WORKERS:
            its = sorted(count for count, rank in counts if rank == worker)
            assert its == list(range(1, len(its) + 1))


def test_arguments_and_keywords() -> None:
    def echo(owner, *args, **kwargs):
        return args, kwargs

    def fill(pool):
        return [
            pool.submit(echo, 1, "two", three=3),
            pool.queue(echo, (1, [2]), {"three": {"four": 5}}, submitter="somebody", colour="red"),
            pool.queue(echo),
        ]

    expected = [((1, "two"), {"three": 3}), ((1, [2]), {"three": {"four": 5}}), ((), {})]
    assert run(fill) in (expected, None)


def test_all_kinds_of_callables() -> None:
    offset = 40

    def closure(owner, n):
        return n + offset

    def recursive(owner, n):
        return 1 if n < 2 else n * recursive(owner, n - 1)

    calls = [
        (give, (7,), 7),
        (lambda owner, n: n * n, (7,), 49),
        (closure, (2,), 42),
        (recursive, (5,), 120),
        (functools.partial(give, value=3), (), 3),
        (functools.partial(closure, n=3), (), 43),
        (Scale(4).times, (5,), 20),
        (Scale(6), (5,), 30),
        (Scale.twice, (5,), 10),
        (Scale.thrice, (5,), 15),
        (isinstance, (type(None),), True),
    ]

    def fill(pool):
        return [[pool.submit(f, *args) for f, args, _ in calls] for _ in range(3)]

    assert run(fill) in ([[expected for _, _, expected in calls]] * 3, None)
    made = run(lambda pool: [pool.submit(Pair, 4)])
    assert made is None or made[0].sum == 8


def test_a_closure_in_a_loop_sees_its_own_variable() -> None:
    def fill(pool):
        return [pool.submit(lambda owner, n=n: (n, n_of())) for n in range(20)]

    def n_of():
        return "inner"

    assert run(fill) in ([(n, "inner") for n in range(20)], None)


def test_more_functions_than_a_worker_keeps() -> None:
    def make(n):
        return lambda owner: n

    functions = [make(n) for n in range(1_500)]

    def fill(pool):
        return [pool.submit(f) for f in functions + functions[:100]]

    assert run(fill) in ([*range(1_500), *range(100)], None)


# ------------------------------------------------------------ dependencies


def test_a_job_starts_after_its_dependencies_have_ended() -> None:
    def fill(pool):
        first = [pool.submit(work, 0.01) for _ in range(6)]
        second = [pool.submit(work, 0.01, deps=first[i : i + 3]) for i in range(4)]
        return [first, second, pool.submit(work, deps=second), pool.submit(work, deps=first[:1])]

    if ran := run(fill):
        first, second, last, early = ran
        for i, job in enumerate(second):
            assert job.start >= max(dep.end for dep in first[i : i + 3])
        assert last.start >= max(job.end for job in second)
        assert early.start >= first[0].end


def test_a_chain_runs_in_order() -> None:
    def fill(pool):
        jobs = [pool.submit(work)]
        for _ in range(200):
            jobs.append(pool.submit(work, deps=[jobs[-1]]))
        return jobs

    ran = run(fill) or ()
    assert all(a.end <= b.start for a, b in itertools.pairwise(ran))


def test_a_set_of_dependencies_that_many_jobs_share() -> None:
    def fill(pool):
        first = [pool.submit(work, 0.001) for _ in range(40)]
        shared = tuple(first)
        return [first, [pool.submit(work, deps=shared) for _ in range(200)]]

    if ran := run(fill):
        first, second = ran
        assert max(job.end for job in first) <= min(job.start for job in second)


def test_only_the_dependents_of_a_failed_job_are_cancelled() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            bad = pool.submit(fail)
            child = pool.submit(give, 1, deps=[bad])
            grandchild = pool.submit(give, 2, deps=[child])
            free = [pool.submit(give, n) for n in range(20)]
            both = pool.submit(give, 3, deps=[*free, bad])
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if MAIN:
            assert len(caught.value.exceptions) == 1
            assert bad.status is JobStatus.FAILED
            assert {job.status for job in free} == {JobStatus.SUCCESS}
            for job in (child, grandchild, both):
                assert job.status is JobStatus.CANCELLED
                assert str(job.error) == "Job killed for dependency failure"
    pool_works()


# ------------------------------------------------------------ the lifecycle of pools


def test_many_pools_in_sequence() -> None:
    for n in range(60):
        results = run(lambda pool, n=n: [pool.submit(give, n + i) for i in range(n % 7)])
        assert results in ([n + i for i in range(n % 7)], None)


def test_a_pool_that_is_not_executed() -> None:
    for _ in range(5):
        with create_job_pool(quiet=True) as pool:
            if MAIN:
                job = pool.submit(give, 1)
        if MAIN:
            assert job.status in (JobStatus.PENDING, JobStatus.CANCELLED)
        pool_works()


def test_a_pool_that_is_not_entered() -> None:
    create_job_pool(quiet=True)
    pool_works()


def test_main_fails_before_it_executes() -> None:
    with pytest.raises((ZeroDivisionError, WorkflowError)) as caught, create_job_pool() as pool:
        if MAIN:
            pool.submit(give, 1)
            raise ZeroDivisionError
        pool.execute()
    assert caught.type is (ZeroDivisionError if MAIN else WorkflowError)
    pool_works()


def test_a_listener_fails() -> None:
    def listener(progress):
        if progress.status is JobStatus.SUCCESS:
            raise ZeroDivisionError

    with (
        pytest.raises((ZeroDivisionError, WorkflowError)) as caught,
        create_job_pool(quiet=True) as pool,
    ):
        pool.add_listener(listener)
        if MAIN:
            for n in range(100):
                pool.submit(give, n)
        pool.execute()
    assert caught.type is (ZeroDivisionError if MAIN else WorkflowError)
    pool_works()


def test_nothing_can_be_queued_after_the_end() -> None:
    with create_job_pool(quiet=True) as pool:
        pool.execute()
        with pytest.raises(JobPoolError):
            pool.submit(give)
        with pytest.raises(JobPoolContextError):
            pool.execute()
    with pytest.raises(JobPoolError):
        pool.submit(give)
    with pytest.raises(JobPoolContextError):
        pool.execute()
    assert pool.jobs == [] and pool.id is None


def test_results_are_freed_with_the_pool() -> None:
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(give, 5)
        with pytest.raises(JobPoolError):
            _ = job.result
        pool.execute()
        if MAIN:
            assert job.result == 5
    with pytest.raises(JobPoolError):
        _ = job.result


def test_jobs_that_other_ranks_queue_are_ignored() -> None:
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(rank)  # on all ranks
        results = pool.execute(return_results=True)
        assert results == ({job: results[job]} if MAIN else {})
        if MAIN:
            assert results[job] in WORKERS
        else:
            assert job.status is JobStatus.PENDING


def test_a_pool_inside_the_block_of_another() -> None:
    with create_job_pool(quiet=True) as outer:
        job = outer.submit(give, "outer") if MAIN else None
        pool_works()
        results = outer.execute(return_results=True)
        pool_works()
        assert results == ({job: "outer"} if MAIN else {})


def test_two_open_pools_executed_in_the_other_order() -> None:
    with create_job_pool(quiet=True) as first, create_job_pool(quiet=True) as second:
        jobs = [pool.submit(give, n) for n, pool in enumerate((first, second))] if MAIN else []
        two = second.execute(return_results=True)
        one = first.execute(return_results=True)
        if MAIN:
            assert one == {jobs[0]: 0} and two == {jobs[1]: 1}


def test_a_pool_inside_a_job_is_serial() -> None:
    def nest(owner, n):
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.submit(rank), pool.submit(give, n)]
            results = pool.execute(return_results=True)
        return pool.parallel, WORLD.rank, [results[job] for job in jobs]

    ran = run(lambda pool: [pool.submit(nest, n) for n in range(12)])
    for n, (parallel, here, results) in enumerate(ran or ()):
        assert not parallel
        assert results == [here, n]


def test_properties_of_a_pool() -> None:
    with create_job_pool(owner="me", quiet=True) as pool:
        assert pool.parallel
        assert pool.is_main() is MAIN
        assert pool.owner == "me"
        pool.execute()


# ------------------------------------------------------------ all kinds of ends


def test_all_failures_are_raised_at_the_end_and_on_all_ranks() -> None:
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(fail if n % 3 == 0 else give, str(n)) for n in range(30)]
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if MAIN:
            reported = sorted(int(str(error.error)) for error in caught.value.exceptions)
            assert reported == list(range(0, 30, 3))
            assert [job.status for job in jobs[:3]] == [
                JobStatus.FAILED, JobStatus.SUCCESS, JobStatus.SUCCESS,
            ]  # fmt: skip
            assert jobs[1].result == "1"
    pool_works()


def test_fail_fast_ends_with_the_first_failure() -> None:
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        if MAIN:
            bad = pool.submit(fail)
            later = [pool.submit(work, 0.05) for _ in range(100)]
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if MAIN:
            assert bad.status is JobStatus.FAILED
            assert [error.error for error in caught.value.exceptions] == [bad.error]
            ended = {job.status for job in later}
            assert JobStatus.CANCELLED in ended
            assert ended <= {JobStatus.SUCCESS, JobStatus.CANCELLED, JobStatus.ABORTED}
    pool_works()


def test_a_listener_that_handles_the_failures() -> None:
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(lambda progress: progress.status is JobStatus.FAILED)
        if MAIN:
            bad = pool.submit(fail)
            child = pool.submit(give, deps=[bad])
        pool.execute()
        if MAIN:
            assert bad.status is JobStatus.FAILED
            assert child.status is JobStatus.CANCELLED


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_job_that_raises_system_exit(exception: type[BaseException]) -> None:
    def leave(owner):
        raise exception("bye")

    with create_job_pool(quiet=True) as pool:
        if MAIN:
            bad = pool.submit(leave)
            good = [pool.submit(give, n) for n in range(10)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            assert bad.status is JobStatus.FAILED
            assert isinstance(bad.error, exception)
            assert {job.status for job in good} == {JobStatus.SUCCESS}
    pool_works()


def test_jobs_run_in_the_process_of_their_rank() -> None:
    pids = WORLD.allgather(os.getpid())
    ran = run(lambda pool: [pool.submit(lambda owner: os.getpid()) for _ in range(20)])
    assert ran is None or set(ran) <= {pids[rank] for rank in WORKERS}


@pytest.mark.parametrize("many", [20_000])
def test_many_small_jobs(many: int) -> None:
    results = run(lambda pool: [pool.submit(give, n) for n in range(many)])
    assert results is None or results == list(range(many))
