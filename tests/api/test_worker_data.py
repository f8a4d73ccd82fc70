"""Calls on all workers, parts of a sequence on them, and variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bsbpool import WorkflowError, create_job_pool
from bsbpool.worker_data import pushed

from .on_ranks import on_ranks
from .test_data_on_workers import MIB, SLACK, bytes_sent


def where(owner: Any, *args: Any) -> int:
    from mpi4py import MPI

    return MPI.COMM_WORLD.rank


def scaled(owner: Any, part: Any) -> float:
    return float(part.sum() * pushed["factor"])


def run_everything():
    from mpi4py import MPI

    size = MPI.COMM_WORLD.size
    ranks = list(range(1, size)) or [0]
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            here = pool.run_on_all(where)
            parts = pool.scatter(np.ones(MIB))
            ready = pool.push({"factor": 3, "other": [1]})
            deps = list(ready.values())
            sums = [pool.options(deps=deps).submit(scaled, part) for part in parts.values()]
            values = pool.options(deps=deps).submit(where)
            pulled = pool.pull("factor", "other")
            characters = pool.scatter("abcdefg")
            word = pool.submit(lambda owner, parts: "".join(parts), list(characters.values()))
        pool.execute()
        if pool.is_main():
            assert {rank: job.result for rank, job in here.items()} == {r: r for r in ranks}
            assert sum(job.result for job in sums) == 3 * MIB
            assert list(pulled) == ranks
            assert all(job.result == {"factor": 3, "other": [1]} for job in pulled.values())
            assert word.result == "abcdefg"
            assert values.result in ranks


def test_serial():
    run_everything()


@on_ranks(3)
def test_on_three_ranks():
    run_everything()


@on_ranks(4)
def test_on_four_ranks():
    run_everything()


@on_ranks(3)
def test_parts_stay_on_their_workers():
    with create_job_pool(quiet=True):
        pass
    before = bytes_sent()
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            parts = pool.scatter(np.ones(MIB))
            for rank, part in parts.items():
                for _ in range(5):
                    pool.options(targets=[rank]).submit(where, part)
        pool.execute()
    sent = bytes_sent() - before
    assert 8 * MIB <= sent.sum() < 8 * MIB + SLACK, sent


def test_wrong_values(pool):
    with pytest.raises(TypeError, match="must be a sequence"):
        pool.scatter(iter([1]))
    missing = pool.pull("never")[0]
    with pytest.raises(WorkflowError):
        pool.execute()
    assert isinstance(missing.error, NameError)
