"""A pool uses the ranks of its communicator and no others."""

from __future__ import annotations

import time

import pytest
from mpi4py import MPI

from bsbpool import JobPool, WorkflowError, create_job_pool
from bsbpool.services.mpi import MPIService

from .support import MAIN, WORLD, fail, give, pool_works, rank, run

pytestmark = pytest.mark.mpi(min_size=2)


class Owner:
    """An owner with a communicator, as BSB's scaffold."""

    def __init__(self, comm) -> None:
        self._comm = comm


@pytest.fixture
def split():
    """Return ``split(colour, key)``, whose communicators are freed in the end."""
    made = []

    def split(colour: int, key: int = 0) -> MPI.Comm:
        made.append(WORLD.Split(colour, key))
        return made[-1]

    yield split
    for comm in made:
        if comm != MPI.COMM_NULL:
            comm.Free()


def test_halves_at_the_same_time(split) -> None:
    half = split(WORLD.rank % 2)
    for n in range(20):
        many = (n * (1 + WORLD.rank % 2)) % 17
        with create_job_pool(comm=half, quiet=True) as pool:
            assert pool.is_main() == (half.rank == 0)
            assert pool.parallel == (half.size > 1)
            if half.rank == 0:
                jobs = [pool.submit(give, i) for i in range(many)]
                ranks = [pool.submit(rank) for _ in range(5)]
            results = pool.execute(return_results=True)
        if half.rank == 0:
            assert [results[job] for job in jobs] == list(range(many))
            assert {results[job] % 2 for job in ranks} == {WORLD.rank % 2}
    pool_works()


def test_some_ranks_only(split) -> None:
    chosen = split(0 if WORLD.rank != 1 else MPI.UNDEFINED)
    if chosen != MPI.COMM_NULL:
        results = run(lambda pool: [pool.submit(rank) for _ in range(20)], comm=chosen)
        if chosen.rank == 0:
            assert 1 not in results
    pool_works()


def test_ranks_in_another_order(split) -> None:
    """Main is rank 0 of the pool's communicator, which may be any rank of the world."""
    reversed_ranks = split(0, -WORLD.rank)
    last = WORLD.size - 1
    results = run(lambda pool: [pool.submit(rank) for _ in range(20)], comm=reversed_ranks)
    assert (results is not None) == (last == WORLD.rank)
    assert results is None or last not in results


def test_a_communicator_of_one_rank_is_serial() -> None:
    with create_job_pool(comm=MPI.COMM_SELF, quiet=True) as pool:
        assert not pool.parallel and pool.is_main()
        jobs = [pool.submit(rank) for _ in range(3)]
        assert list(pool.execute(return_results=True)) == jobs
        assert [job.result for job in jobs] == [WORLD.rank] * 3


@pytest.mark.parametrize("wrap", [lambda comm: comm, MPIService], ids=["mpi4py", "service"])
def test_the_communicator_of_the_owner(split, wrap) -> None:
    half = split(WORLD.rank % 2)
    with JobPool(1, Owner(wrap(half))) as pool:
        assert pool.is_main() == (half.rank == 0)
        job = pool.submit(give, 7) if pool.is_main() else None
        results = pool.execute(return_results=True)
        assert results == ({job: 7} if job else {})


def test_pools_of_different_communicators_one_inside_the_other(split) -> None:
    half = split(WORLD.rank % 2)
    with create_job_pool(quiet=True) as outer:
        job = outer.submit(give, "outer") if MAIN else None
        pool_works(comm=half)
        with create_job_pool(comm=half, quiet=True) as inner:
            inner_job = inner.submit(give, "inner") if inner.is_main() else None
            results = outer.execute(return_results=True)
            assert results == ({job: "outer"} if MAIN else {})
            results = inner.execute(return_results=True)
            assert results == ({inner_job: "inner"} if inner_job else {})


def test_a_failure_in_one_half_does_not_affect_the_other(split) -> None:
    half = split(WORLD.rank % 2)
    if WORLD.rank % 2:
        with create_job_pool(comm=half, quiet=True) as pool:
            if pool.is_main():
                pool.submit(fail)
            with pytest.raises(WorkflowError):
                pool.execute()
    else:
        pool_works(comm=half)
    pool_works()


def test_the_callers_own_messages_are_not_touched() -> None:
    """Wildcard receives of the caller do not match messages of the pool, nor vice versa."""
    sent = WORLD.isend("mine", (WORLD.rank + 1) % WORLD.size, tag=1)
    pool_works()
    assert WORLD.recv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG) == "mine"
    sent.wait()
    assert not WORLD.iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)


def test_no_message_reaches_a_later_communicator() -> None:
    """MPI reuses the context id of a freed communicator."""
    for _ in range(5):
        comm = WORLD.Dup()
        with create_job_pool(comm=comm, quiet=True):
            if MAIN:  # the others have left and do not receive the end of the run
                time.sleep(0.03)
        comm.Free()
        comm = WORLD.Dup()
        results = run(lambda pool: [pool.submit(rank) for _ in range(20)], comm=comm)
        assert not MAIN or len(results) == 20
        comm.Free()
