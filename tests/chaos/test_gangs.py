"""Jobs on several ranks when one of these dies or fails (Open MPI, --with-ft ulfm).

The communicator of such a job is revoked, so that no rank waits inside MPI for the others.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bsbpool import (
    JobStatus,
    JobTimeoutError,
    WorkerLostError,
    WorkflowError,
    create_job_pool,
    current_job,
)
from bsbpool.futures import PoolExecutor
from chaos.test_deaths import die, give, statuses, survives


def die_on(owner: Any, member: int, seconds: float = 0.1, attempt: int = 1) -> int:
    """Die on one rank of the communicator, while the others wait for it inside MPI."""
    described = current_job()
    assert described is not None
    comm = described.comm
    if comm.rank == member and described.attempt <= attempt:
        die(owner, "kill", seconds)
    comm.Barrier()
    return int(comm.size)


def fail_on(owner: Any, member: int | None) -> None:
    """Fail on one rank of the communicator, while the others wait for it inside MPI."""
    described = current_job()
    assert described is not None
    if described.comm.rank == member:
        raise ValueError(f"failed on {member}")
    if member is None and described.comm.rank == 0:
        time.sleep(20)
    described.comm.Barrier()


def size(owner: Any) -> int:
    described = current_job()
    assert described is not None
    return int(described.comm.allreduce(1))


@survives(4, 1)
def test_the_death_of_a_member_aborts_the_job_and_frees_the_others() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job = pool.options(ranks=3).submit(die_on, 1)
            child = pool.submit(give, 1, deps=[job])
            later = [pool.options(ranks=2).submit(size) for _ in range(5)]
            others = [pool.submit(give, n) for n in range(20)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert statuses(job, child) == ["aborted", "cancelled"]
            assert isinstance(job.error, WorkerLostError)
            assert [other.result for other in later] == [2] * 5
            assert [other.result for other in others] == list(range(20))


@survives(4, 1)
def test_a_job_runs_again_without_the_member_that_died() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job = pool.options(ranks=2, retries_if_lost=1, targets=[1, 2, 3]).submit(die_on, 0)
        pool.execute()
        if pool.is_main():
            assert job.result == 2
            assert isinstance(job.attempts[0].error, WorkerLostError)


@survives(3, 1)
def test_a_size_that_became_impossible_fails() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            died = pool.submit(die, "kill", 0.1)
            job = pool.options(ranks=2).submit(size)
            rest = pool.submit(give, 5)
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert statuses(died, job, rest) == ["aborted", "failed", "success"]
            assert isinstance(job.error, WorkerLostError)
            assert "no ranks can run" in str(job.error) or "no rank can run" in str(job.error)


@survives(3, 0)
def test_a_failure_frees_ranks_that_wait_inside_mpi() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = [pool.options(ranks=2).submit(fail_on, member) for member in (0, 1, 0, 1)]
            later = pool.options(ranks=2).submit(size)
        began = time.monotonic()
        with pytest.raises(WorkflowError):
            pool.execute()
        assert time.monotonic() - began < 8
        if pool.is_main():
            assert statuses(*jobs, later) == ["failed"] * 4 + ["success"]
            assert [str(job.error) for job in jobs] == [f"failed on {n}" for n in (0, 1, 0, 1)]


@survives(3, 0)
def test_cancelling_and_timeouts_free_ranks_that_wait_inside_mpi() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            cancelled = pool.options(ranks=2).submit(fail_on, None)
            late = pool.options(ranks=2, timeout=0.3).submit(fail_on, None)
            later = pool.options(ranks=2).submit(size)

            def cancel(progress: Any) -> None:
                if (
                    getattr(progress, "job", None) is cancelled
                    and getattr(progress, "status", None) is JobStatus.RUNNING
                ):
                    cancelled.cancel(running=True)

            pool.add_listener(cancel)
        began = time.monotonic()
        with pytest.raises(WorkflowError):
            pool.execute()
        assert time.monotonic() - began < 10
        if pool.is_main():
            assert statuses(cancelled, late, later) == ["cancelled", "failed", "success"]
            assert isinstance(late.error, JobTimeoutError)


@survives(4, 1)
def test_executors_go_on() -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            view = executor.options(ranks=2, targets=[1, 2])
            assert isinstance(view.submit(die_on, None, 1).exception(), WorkerLostError)
            assert executor.options(ranks=2).submit(size, None).result() == 2
