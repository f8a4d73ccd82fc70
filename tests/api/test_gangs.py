"""Jobs on several ranks: their options, and runs of one process."""

from __future__ import annotations

import pytest

from bsbpool import create_job_pool, current_job, job
from bsbpool._core.runtime.gang_messages import Communicators
from bsbpool.futures import PoolExecutor
from helpers.launch import mpirun


def size(owner=None):
    described = current_job()
    return described.comm.Get_size(), described.comm.Get_rank(), described.ranks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": 0}, "ranks must be at least 1, the number of ranks that run the job, got 0"),
        ({"ranks": "2"}, "ranks must be an integer, got '2'"),
        ({"ranks": True}, "ranks must be an integer, got True"),
        ({"ranks": 1.5}, "ranks must be an integer, got 1.5"),
        ({"placement": "host"}, "placement must be 'any' or 'node', got 'host'"),
        ({"gather": "yes"}, "gather must be "),
    ],
)
def test_values_that_are_refused(options, message):
    with create_job_pool(quiet=True) as pool:
        with pytest.raises((TypeError, ValueError), match=message):
            pool.options(**options)
        pool.execute()


def test_one_process_has_one_worker():
    with create_job_pool(quiet=True) as pool:
        with pytest.raises(ValueError, match=r"ranks=3 is more than the 1 worker .*mpiexec -n 4"):
            pool.options(ranks=3).submit(size)
        assert pool.jobs == []
        alone = pool.options(ranks=1).submit(size)
        gathered = pool.options(ranks=1, gather=True, placement="node").submit(size)
        plain = pool.submit(size)
        pool.execute()
        assert alone.result == plain.result == (1, 0, (0,))
        assert gathered.result == [(1, 0, (0,))]


def test_the_decorator_and_pool_options_take_them():
    @job(ranks=2)
    def f(owner):
        """Never called."""

    with create_job_pool(quiet=True) as pool:
        with pytest.raises(ValueError, match="ranks=2 is more than"):
            pool.submit(f)
        with pytest.raises(ValueError, match="ranks=4 is more than"):
            pool.options(ranks=4).queue_many(f, [(), ()])
        assert pool.options(ranks=1, gather=True).submit(f).label
        pool.execute()


def test_an_executor_of_one_process_refuses_them_at_the_call():
    with PoolExecutor() as executor:
        assert executor.options(ranks=1).submit(size).result() == (1, 0, (0,))
        assert executor.options(ranks=1, gather=True).submit(size).result() == [(1, 0, (0,))]
        with pytest.raises(ValueError, match="ranks=2 is more than the 1 worker of this run"):
            executor.options(ranks=2).submit(size)
        with pytest.raises(ValueError, match="ranks=2 is more than the 1 worker of this run"):
            list(executor.options(ranks=2).map(size, [1]))


def test_metadata_without_several_ranks():
    with create_job_pool(quiet=True) as pool:
        plain = pool.submit(size)
        pool.execute()
        assert plain.metadata.ranks is None


def test_a_worker_has_a_bounded_number_of_communicators():
    """All members free the same ones, those that were used least recently."""
    known = Communicators()
    has = {worker: [] for worker in range(6)}
    pairs = [(a, b) for a in range(6) for b in range(a + 1, 6)] * 5
    triples = [(0, 1, n) for n in range(2, 6)]
    for members in [*pairs, *triples, *pairs]:
        serial, freed = known.use(members)
        for old, of in freed:
            assert set(of) & set(members)
            for worker in of:
                assert has[worker][0] == old or worker not in members
                has[worker].remove(old)
        for worker in members:
            if serial in has[worker]:
                has[worker].remove(serial)
            has[worker].append(serial)
            assert len(has[worker]) <= 8
        assert known.use(members) == (serial, [])
    known.remove(serial)
    again, freed = known.use(members)
    assert again != serial
    assert freed == []


STUCK = """
from bsbpool import WorkflowError, create_job_pool, current_job

def wait_or_fail(owner):
    comm = current_job().comm
    if comm.rank == 0:
        raise ValueError("no")
    comm.Barrier()

with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        job = pool.options(ranks=2, retries=1).submit(wait_or_fail)
        repair = pool.options(on_failure=[job]).submit(lambda owner: "repaired")
        rest = [pool.submit(lambda owner, n: n, n) for n in range(5)]
    try:
        pool.execute()
    except WorkflowError:
        if pool.is_main():
            print(job.status.value, job.error, repair.result, sum(other.result for other in rest))
"""


def test_a_rank_that_waits_inside_mpi_for_one_that_failed():
    """The job fails and is not repeated; at the end of the program all ranks are ended."""
    ended = mpirun(4, "-c", STUCK)
    assert "failed no repaired 10" in ended.stdout
    assert "have not left it, perhaps because they wait inside MPI" in ended.stdout
    assert "is still inside a job of a run that has ended" in ended.stdout
    assert ended.returncode != 0


SCRIPT = """
import bsbpool
from bsbpool.futures import PoolExecutor

scale = 3

def total(x):
    comm = bsbpool.current_job().comm
    return comm.allreduce(x * scale), comm.size

with PoolExecutor() as executor:
    two = executor.options(ranks=2)
    print(two.submit(total, 2).result(), list(two.map(total, [1, 2])))
    gathering = executor.options(ranks=2, gather=True)
    print(gathering.submit(total, 1).result())
    for call in (
        lambda: list(gathering.map(total, [1])),
        lambda: executor.options(ranks=7).submit(total, 2),
    ):
        try:
            call()
        except ValueError as error:
            print(error)
"""


def test_a_program_of_bsbpool_run():
    ended = mpirun(3, "-m", "bsbpool.run", "-c", SCRIPT)
    assert ended.returncode == 0, ended.stdout
    assert "(12, 2) [(6, 2), (12, 2)]" in ended.stdout
    assert "[(6, 2), (6, 2)]" in ended.stdout
    assert "gather=True cannot be used with a map" in ended.stdout
    assert "ranks=7 is more than the 2 workers" in ended.stdout


NODES = """
from bsbpool import create_job_pool, current_job

def ranks(owner):
    return current_job().ranks

with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        view = pool.options(ranks=2, placement="node")
        jobs = [pool.submit(lambda owner, n: n, n) for n in range(20)]
        jobs += [view.submit(ranks) for _ in range(20)]
        jobs.append(pool.options(ranks=3, placement="node").submit(ranks))
    pool.execute()
    if pool.is_main():
        found = {job.result for job in jobs[20:-1]}
        assert found <= {(1, 3), (2, 4)}, found
        assert len(jobs[-1].result) == 3  # no node has three
        print("placed")
"""


def test_ranks_of_one_node_are_preferred():
    """The ranks pretend to be on two nodes, those with odd and those with even numbers."""
    ended = mpirun(5, "-c", NODES, env={"BSBPOOL_TEST_NODES": "2"})
    assert "placed" in ended.stdout, ended.stdout
