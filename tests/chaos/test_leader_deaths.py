"""Pools with leaders when a leader, or a worker behind a leader, dies."""

from __future__ import annotations

import pytest

from bsbpool import WorkflowError, create_job_pool

from .test_deaths import die, give, handled, statuses, survives

N = 100


@survives(5, 1)
def test_the_workers_of_a_dead_leader_go_on() -> None:
    """Rank 1 leads the others. Jobs wait behind the one that kills it, and others run elsewhere."""
    with create_job_pool(quiet=True, leaders=4) as pool:
        pool.add_listener(handled)
        if pool.is_main():
            first = [pool.submit(give, n) for n in range(N)]
            lost = pool.options(targets=[1], deps=first).submit(die)
            beside = [pool.submit(give, n, 0.005, deps=first) for n in range(N)]
            later = [pool.options(targets=[4], deps=beside).submit(give, n) for n in range(N)]
        pool.execute()
        if pool.is_main():
            assert statuses(lost) == ["aborted"]
            for jobs in (first, beside, later):
                assert [job.result for job in jobs] == list(range(N))
    for _ in range(2):  # the others have no leader any more
        with create_job_pool(quiet=True, leaders=4) as pool:
            jobs = [pool.submit(give, n) for n in range(N)] if pool.is_main() else []
            pool.execute()
            assert [job.result for job in jobs] == list(range(len(jobs)))


@survives(4, 1)
def test_a_worker_behind_a_leader_dies() -> None:
    with create_job_pool(quiet=True, leaders=3) as pool:
        if pool.is_main():
            first = [pool.options(targets=[3]).submit(give, n) for n in range(N)]
            lost = pool.options(targets=[3], deps=first).submit(die)
            later = [pool.submit(give, n, 0.002, deps=first) for n in range(N)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert statuses(lost) == ["aborted"]
            for jobs in (first, later):
                assert [job.result for job in jobs] == list(range(N))


@survives(4, 2)
def test_a_leader_and_its_worker_die() -> None:
    with create_job_pool(quiet=True, leaders=3) as pool:
        pool.add_listener(handled)
        if pool.is_main():
            lost = [pool.options(targets=[rank]).submit(die) for rank in (3, 1)]
            jobs = [pool.submit(give, n, 0.005) for n in range(N)]
        pool.execute()
        if pool.is_main():
            assert statuses(*lost) == ["aborted"] * 2
            assert [job.result for job in jobs] == list(range(N))
