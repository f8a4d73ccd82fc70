"""Large results that only a worker has, when this worker dies (Open MPI, --with-ft ulfm)."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from bsbpool import JobStatus, WorkerLostError, WorkflowError, create_job_pool
from bsbpool.exceptions import DataLostError
from chaos.test_deaths import survives

SIZE = 1 << 20


def make(owner: Any, value: int = 1) -> Any:
    return np.full(SIZE, value, np.uint8)


def twice(owner: Any, array: Any) -> Any:
    return array * 2


def total(owner: Any, array: Any, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return int(array.sum(dtype=np.int64))


def die(owner: Any, *inputs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@survives(3, deaths=1)
def test_jobs_that_need_a_lost_result_fail() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            large = pool.options(keep="worker", targets=[1]).submit(make)
            killer = pool.options(targets=[1], deps=[large]).submit(die)
            after = pool.options(on_end=[killer]).submit(total, large)
            other = pool.submit(total, pool.submit(make, 3))
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        if pool.is_main():
            causes = [type(error.__cause__) for error in raised.value.exceptions]
            assert causes == [WorkerLostError, DataLostError]
            assert large.status is JobStatus.SUCCESS
            assert "only on rank 1" in str(after.error)
            assert "make()" in str(after.error)
            assert other.result == 3 * SIZE


@survives(3, deaths=1)
def test_results_that_main_has_as_well_are_sent_again() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            large = pool.options(targets=[1]).submit(make)
            killer = pool.options(targets=[1], deps=[large]).submit(die)
            after = [pool.options(on_end=[killer]).submit(total, large) for _ in range(4)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert [job.result for job in after] == [SIZE] * 4


@survives(3, deaths=1)
def test_a_job_runs_again_to_make_a_lost_result() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            first = pool.options(keep="worker", targets=[1], retries_if_lost=1).submit(make)
            large = pool.options(keep="worker", targets=[1], retries_if_lost=1).submit(twice, first)
            killer = pool.options(targets=[1], deps=[large]).submit(die)
            after = pool.options(on_end=[killer]).submit(total, large)
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert after.result == 2 * SIZE


@survives(4, deaths=1)
def test_another_worker_that_has_the_result_sends_it() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            large = pool.options(keep="worker", targets=[1]).submit(make)
            copy = pool.options(targets=[2]).submit(total, large)
            killer = pool.options(targets=[1], deps=[copy]).submit(die)
            after = pool.options(on_end=[killer], targets=[3]).submit(total, large)
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert after.result == SIZE


@survives(4, deaths=1)
def test_deaths_during_many_transfers() -> None:
    for _ in range(3):
        with create_job_pool(quiet=True) as pool:
            if pool.is_main():
                made = [pool.options(keep="worker").submit(make, i) for i in range(12)]
                sums = [pool.submit(total, made[i % 12], 0.002) for i in range(60)]
                if _ == 1:
                    pool.options(targets=[2], deps=made[:6]).submit(die)
            try:
                pool.execute()
            except WorkflowError:
                assert _ == 1
            if pool.is_main():
                for i, job in enumerate(sums):
                    if job.status is JobStatus.SUCCESS:
                        assert job.result == (i % 12) * SIZE
                    elif job.status is JobStatus.FAILED:
                        assert isinstance(job.error, DataLostError)
                    else:
                        assert job.status in (JobStatus.ABORTED, JobStatus.CANCELLED)
