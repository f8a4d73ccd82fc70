"""Jobs with retries and other options when a worker dies (Open MPI, --with-ft ulfm)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bsbpool import JobStatus, WorkerLostError, WorkflowError, create_job_pool
from chaos.test_deaths import die, give, statuses, survives


def die_once(owner: Any, path: str) -> str:
    """Kill the process, if no other one has done so for this path."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "survived"
    die(owner, "kill", 0.05)
    return "never"


def rank_of(owner: Any) -> int:
    from mpi4py import MPI

    return MPI.COMM_WORLD.Get_rank()


def refusal(pool: Any, **options: Any) -> str:
    """Return the message of the error about options that no rank can meet."""
    with pytest.raises(ValueError) as caught:
        pool.options(**options).submit(give, 1)
    return str(caught.value)


@survives(3, 1)
def test_a_job_runs_again_after_its_rank_died() -> None:
    folder = tempfile.mkdtemp()
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            view = pool.options(retries_if_lost=1)
            job = view.submit(die_once, str(Path(folder) / "died"))
            more = [pool.submit(give, n, 0.001) for n in range(50)]
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert results[job] == "survived"
            assert [results[other] for other in more] == list(range(50))
            [attempt] = job.attempts
            assert isinstance(attempt.error, WorkerLostError)
            assert attempt.rank == attempt.error.rank


@survives(4, 2)
def test_retries_after_errors_do_not_count_for_lost_ranks() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            once = pool.options(retries_if_lost=1, retries=5).submit(die)
            pool.submit(give, 1)
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if pool.is_main():
            assert statuses(once) == ["aborted"]
            assert len(once.attempts) == 1
            assert isinstance(caught.value.exceptions[0].__cause__, WorkerLostError)


@survives(3, 1)
def test_a_job_whose_targets_have_died_fails() -> None:
    refused: list[str] = []
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            killer = pool.options(targets=[2]).submit(die)
            killer.on_completion(lambda job: refused.append(refusal(pool, targets=[2])))
            there = pool.options(targets=[2], on_end=[killer]).submit(rank_of)
            after = pool.submit(give, there)
            either = pool.options(targets=[1, 2], on_end=[killer]).submit(rank_of)
            with pytest.raises(WorkflowError):
                pool.execute()
            assert statuses(killer, there, after, either) == [
                "aborted", "failed", "cancelled", "success",
            ]  # fmt: skip
            assert "no rank can run job 1" in str(there.error)
            assert refused == ["no rank can run the job: of targets=[2], all have died"]
            assert either.result == 1
            assert pool.counts[JobStatus.ABORTED] == 1
        else:
            with pytest.raises(WorkflowError):
                pool.execute()


@survives(3, 1)
def test_the_resources_of_a_job_that_died_are_free_again() -> None:
    with create_job_pool(quiet=True, resources={"gpu": 1}) as pool:
        if pool.is_main():
            killer = pool.options(resources={"gpu": 1}).submit(die)
            others = [pool.options(resources={"gpu": 1}).submit(rank_of) for _ in range(10)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert statuses(killer) == ["aborted"]
            assert set(statuses(*others)) == {"success"}
