"""Jobs that several ranks run at one time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from bsbpool import (
    JobCancelledError,
    JobPoolTimeoutError,
    JobStatus,
    JobTimeoutError,
    WorkflowError,
    create_job_pool,
    current_job,
    job,
)

from .support import MAIN, WORKERS, WORLD, fail, give, pool_works

pytestmark = pytest.mark.mpi(min_size=3)

ALL = len(WORKERS)


def comm_of_job() -> Any:
    described = current_job()
    assert described is not None
    return described.comm


def total(owner: Any, value: int) -> int:
    """Return the sum over the ranks, found with their communicator."""
    comm = comm_of_job()
    return int(comm.allreduce(value + comm.rank))


def where(owner: Any, seconds: float = 0.0) -> tuple[int, int, float, float]:
    """Return this rank, the size of the communicator, and when the job ran."""
    comm = comm_of_job()
    begin = time.monotonic()
    comm.Barrier()
    time.sleep(seconds)
    return WORLD.rank, comm.size, begin, time.monotonic()


def handle(owner: Any) -> int:
    """Return what identifies the communicator in this process."""
    return MPI._handleof(comm_of_job())


def wait_for_interrupt(owner: Any, failing: int | None = None) -> None:
    """Fail on one rank of the communicator; wait on the others, outside of MPI."""
    if comm_of_job().rank == failing:
        time.sleep(0.02)
        raise ValueError(f"failed on {failing}")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.001)
    raise AssertionError("not interrupted")


def failing_run(pool: Any) -> str:
    """Execute a pool, which must fail; return the messages of the errors."""
    with pytest.raises(WorkflowError) as caught:
        pool.execute()
    return "; ".join(f"{error}: {error.__cause__}" for error in caught.value.exceptions)


def is_running(progress: Any, job: Any) -> bool:
    """Whether a record tells that a job has started."""
    return (
        getattr(progress, "job", None) is job
        and getattr(progress, "status", None) is JobStatus.RUNNING
    )


def test_a_job_uses_its_communicator() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            jobs = {n: pool.options(ranks=n).submit(total, 5) for n in range(1, ALL + 1)}
        pool.execute()
        if MAIN:
            assert {n: job.result for n, job in jobs.items()} == {
                n: 5 * n + n * (n - 1) // 2 for n in jobs
            }


def test_gather_gives_the_results_of_all_in_order() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            view = pool.options(ranks=2, gather=True)
            ranks = view.submit(lambda owner: WORLD.rank)
            nothing = view.submit(give)
            large = view.submit(lambda owner: np.full(50_000, comm_of_job().rank))
            alone = pool.options(gather=True).submit(give, 3)
            after = pool.submit(lambda owner, parts: [part.sum() for part in parts], large)
        pool.execute()
        if MAIN:
            assert ranks.result == sorted(ranks.result)
            assert len(set(ranks.result)) == 2
            assert nothing.result == [None, None]
            assert [part.tolist() for part in large.result] == [[0] * 50_000, [1] * 50_000]
            assert alone.result == [3]
            assert after.result == [0, 50_000]


def test_no_rank_runs_two_jobs_at_one_time() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            jobs = []
            for n in range(60):
                size = 1 + n % 7 % ALL
                options = {"priority": n % 3} if n % 4 == 0 else {}
                view = pool.options(ranks=size, gather=True, **options)
                jobs.append((size, view.submit(where, 0.001)))
                jobs.append((1, pool.options(gather=True).submit(where)))
        pool.execute()
        if MAIN:
            spans: dict[int, list[tuple[float, float]]] = {}
            for size, job in jobs:
                assert len({rank for rank, *_ in job.result}) == size
                assert {n for _, n, *_ in job.result} == {size}
                for rank, _, begin, end in job.result:
                    spans.setdefault(rank, []).append((begin, end))
            for found in spans.values():
                found.sort()
                assert all(before[1] <= after[0] for before, after in pairwise(found))


def test_communicators_are_used_again() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            view = pool.options(ranks=ALL, gather=True)
            jobs = [view.submit(handle) for _ in range(20)]
        pool.execute()
        if MAIN:
            assert len({tuple(job.result) for job in jobs}) == 1


def test_many_pools_do_not_use_up_the_communicators() -> None:
    """MPICH has about 2,000."""
    for _ in range(40):
        with create_job_pool(quiet=True) as pool:
            if MAIN:
                jobs = [pool.options(ranks=n).submit(total, 1) for n in range(2, ALL + 1)] * 2
            pool.execute()
            if MAIN:
                assert all(job.status is JobStatus.SUCCESS for job in jobs)


def test_an_error_on_one_rank_is_that_of_the_job() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.options(ranks=ALL).submit(wait_for_interrupt, ALL - 1)
            child = pool.submit(give, deps=[job])
            later = pool.options(ranks=ALL).submit(total, 1)
        error = failing_run(pool)
        if MAIN:
            assert f"failed on {ALL - 1}" in error
            assert isinstance(job.error, ValueError)
            assert job.status is JobStatus.FAILED
            assert child.status is JobStatus.CANCELLED
            assert later.result == ALL + ALL * (ALL - 1) // 2
    pool_works()


def test_a_failed_job_leaves_its_communicator_unused() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            view = pool.options(ranks=ALL, gather=True)
            before = view.submit(handle)
            failing = view.submit(wait_for_interrupt, 0)
            after = view.submit(handle)
        failing_run(pool)
        if MAIN:
            assert failing.status is JobStatus.FAILED
            assert all(old != new for old, new in zip(before.result, after.result, strict=True))


class OnlyOnSome:
    """Cannot be unpickled on the last rank."""

    def __reduce__(self) -> Any:
        return load_only_on_some, ()


def load_only_on_some() -> int:
    if WORLD.rank == WORLD.size - 1:
        raise ValueError("not on this rank")
    return 1


def test_arguments_that_one_rank_cannot_unpickle() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.options(ranks=ALL).submit(
                lambda owner, _: wait_for_interrupt(owner), OnlyOnSome()
            )
        error = failing_run(pool)
        if MAIN:
            assert "not on this rank" in error
            assert isinstance(job.error, ValueError)
    pool_works()


def test_arguments_and_results_that_cannot_be_pickled() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            view = pool.options(ranks=2, gather=True)
            jobs = [
                view.submit(give, (n for n in ())),
                view.submit(lambda owner: (n for n in ())),
            ]
            fine = view.submit(give, 1)
        failing_run(pool)
        if MAIN:
            assert [job.status for job in jobs] == [JobStatus.FAILED] * 2
            assert fine.result == [1, 1]


def fail_first(owner: Any) -> int:
    """Fail in the first attempt, on the second rank."""
    described = current_job()
    assert described is not None
    if described.attempt == 1 and described.comm.rank == 1:
        raise ValueError("first")
    if described.attempt == 1:
        wait_for_interrupt(owner)
    return described.attempt


def test_a_job_on_several_ranks_runs_again() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.options(ranks=2, retries=1, gather=True).submit(fail_first)
            others = [pool.submit(give, n) for n in range(20)]
        pool.execute()
        if MAIN:
            assert job.result == [2, 2]
            assert len(job.attempts) == 1
            assert [other.result for other in others] == list(range(20))


def test_a_running_job_is_cancelled_on_all_ranks() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.options(ranks=ALL).submit(wait_for_interrupt)
            later = pool.options(ranks=ALL).submit(total, 0)

            def cancel(progress: Any) -> None:
                if is_running(progress, job):
                    job.cancel("enough", running=True)

            pool.add_listener(cancel)
        began = time.monotonic()
        pool.execute()
        assert time.monotonic() - began < 10
        if MAIN:
            assert job.status is JobStatus.CANCELLED
            assert isinstance(job.error, JobCancelledError)
            assert later.result == ALL * (ALL - 1) // 2
    pool_works()


def test_a_waiting_job_is_cancelled() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            blocker = pool.submit(lambda owner: time.sleep(0.2))
            job = pool.options(ranks=ALL).submit(total, 1)

            def cancel(progress: Any) -> None:
                if is_running(progress, blocker):
                    job.cancel()

            pool.add_listener(cancel)
            others = [pool.submit(give, n) for n in range(5)]
        pool.execute()
        if MAIN:
            assert job.status is JobStatus.CANCELLED
            assert [other.result for other in others] == list(range(5))


def test_a_timeout_ends_all_parts() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.options(ranks=2, timeout=0.2).submit(wait_for_interrupt)
            later = pool.options(ranks=2, timeout=10).submit(total, 0)
        error = failing_run(pool)
        if MAIN:
            assert "longer than its timeout" in error
            assert isinstance(job.error, JobTimeoutError)
            assert later.result == 1
    pool_works()


def test_the_end_of_the_run_ends_all_parts() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            pool.options(ranks=ALL).submit(wait_for_interrupt)
        with pytest.raises(JobPoolTimeoutError if MAIN else WorkflowError):
            pool.execute(timeout=0.3)
    pool_works()


def test_dependencies_and_results_as_arguments() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            first = pool.submit(lambda owner: np.arange(100_000))
            shared = pool.options(ranks=2).submit(
                lambda owner, x: x * comm_of_job().allreduce(1), first
            )
            last = pool.submit(lambda owner, x: int(x.sum()), shared)
        pool.execute()
        if MAIN:
            assert last.result == 2 * 100_000 * 99_999 // 2


def test_targets_priorities_and_metadata() -> None:
    with create_job_pool(quiet=True, timestamps=True) as pool:
        if MAIN:
            view = pool.options(targets=[1, 2], ranks=2, priority=-1)
            jobs = [view.submit(total, 1) for _ in range(5)]
            plain = pool.submit(give)
        pool.execute()
        if MAIN:
            assert [job.metadata.ranks for job in jobs] == [(1, 2)] * 5
            assert jobs[0].metadata.rank == 1
            assert plain.metadata.ranks is None
            assert pool.counts[JobStatus.SUCCESS] == 6


def test_the_decorator_and_random_numbers() -> None:
    @job(ranks=2, gather=True, seed=5)
    def draw(owner: Any) -> float:
        described = current_job()
        assert described is not None
        return float(described.rng.random())

    with create_job_pool(quiet=True) as pool:
        if MAIN:
            first = pool.submit(draw)
            plain = pool.options(ranks=1).submit(draw)
        pool.execute()
        if MAIN:
            assert first.result[0] != first.result[1]
            assert len(plain.result) == 1


def test_output_of_all_ranks_is_captured() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.options(ranks=2, capture_output=True).submit(
                lambda owner: print(f"rank {comm_of_job().rank}")
            )
        pool.execute()
        if MAIN:
            assert sorted(job.output.stdout.split("\n")) == ["", "rank 0", "rank 1"]


def test_sizes_and_options_that_are_impossible() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            for options, message in [
                ({"ranks": ALL + 1}, f"ranks={ALL + 1} is more than the {ALL} workers"),
                ({"ranks": 2, "targets": [1]}, r"ranks=2 is more than the 1 workers of targets"),
                ({"ranks": 2, "resources": {"gpu": 1}}, "resources=.* cannot be used with ranks=2"),
                ({"ranks": 2, "keep": "worker"}, "keep='worker' cannot be used with ranks=2"),
                ({"ranks": 2, "requires": [fail]}, "requires=.* cannot be used with ranks=2"),
            ]:
                with pytest.raises(ValueError, match=message):
                    pool.options(**options).submit(give)
            first = pool.submit(give)
            with pytest.raises(ValueError, match=r"follow=.* cannot be used with ranks=2"):
                pool.options(ranks=2, follow=[first], deps=[first]).submit(give)
            assert len(pool.jobs) == 1
        pool.execute()
