"""The argument `main_works`: one process, invalid values, and MPI for one thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bsbpool import JobPool, PoolExecutor, create_job_pool
from helpers.launch import mpirun

from .on_ranks import on_ranks


def thread_name(owner: Any) -> str:
    return threading.current_thread().name


def test_one_process_runs_its_jobs_as_without() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        job = pool.submit(thread_name)
        results = pool.execute(return_results=True)
    assert results[job] == threading.current_thread().name
    with JobPool(1, None, main_works=True) as pool:
        assert not pool.parallel and pool.run_context.worker_ranks == range(1)
    with PoolExecutor(main_works=True) as executor:
        assert executor is not None
        assert executor.submit(pow, 2, 3).result() == 8 and executor.num_workers == 1


@pytest.mark.parametrize("value", ["yes", 2, [], 0.5])
def test_other_values_are_refused(value: Any) -> None:
    for make in (create_job_pool, PoolExecutor):
        with pytest.raises(TypeError, match="main_works must be True or False"):
            make(main_works=value)
    with pytest.raises(TypeError, match="main_works must be True or False"):
        JobPool(1, None, main_works=value)


def test_one_process_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSBPOOL_MAIN_WORKS", "1")
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(thread_name)
        pool.execute()
        assert job.result == threading.current_thread().name


@on_ranks(2)
def test_both_of_two_ranks_run_jobs() -> None:
    def place(owner: Any) -> int:
        import time

        from bsbpool import services

        time.sleep(0.005)
        return services.MPI.get_rank()

    with create_job_pool(quiet=True, main_works=True) as pool:
        jobs = [pool.submit(place) for _ in range(30)] if pool.is_main() else []
        pool.execute()
        assert {job.result for job in jobs} == ({0, 1} if jobs else set())


ONE_THREAD = """
import mpi4py
mpi4py.rc.thread_level = "single"
from bsbpool import create_job_pool
try:
    create_job_pool(quiet=True, main_works=True)
except RuntimeError as error:
    print(f"[{error}]")
with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        job = pool.submit(lambda owner: "and others work")
    pool.execute()
    if pool.is_main():
        print(job.result)
"""


def test_mpi_for_one_thread_is_refused_on_all_ranks() -> None:
    done = mpirun(2, "-c", ONE_THREAD)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("[main_works=True needs an MPI that was initialised") == 2
    assert "mpi4py.rc.thread_level" in done.stdout
    assert "and others work" in done.stdout


SCRIPT = """
from bsbpool import PoolExecutor
executor = PoolExecutor(main_works=True)
try:
    executor.submit(pow, 2, 2)
except RuntimeError as error:
    print(error)
"""


def test_bsbpool_run_refuses_it() -> None:
    done = mpirun(2, "-m", "bsbpool.run", "-c", SCRIPT)
    assert done.returncode == 0, done.stdout
    assert "main_works must be False for the workers of bsbpool.run" in done.stdout
    assert "mpiexec -n N python script.py" in done.stdout
