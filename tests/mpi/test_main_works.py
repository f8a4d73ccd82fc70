"""Pools whose rank 0 runs jobs, too: the places, the threads, and the ends of runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

import bsbpool
from bsbpool import (
    JobCancelledError,
    JobPool,
    JobPoolError,
    JobPoolTimeoutError,
    JobStatus,
    PoolExecutor,
    WorkflowError,
    create_job_pool,
)

from .support import MAIN, WORLD, fail, give, pool_works, rank, run, work

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.main_works]
ALL = set(range(WORLD.size))


def thread(owner: Any) -> tuple[int, bool]:
    """Return the rank and whether the job runs in the main thread."""
    time.sleep(0.005)
    return WORLD.rank, threading.current_thread() is threading.main_thread()


def total(owner: Any, array: Any) -> float:
    return float(np.sum(array))


def ones(owner: Any, n: int) -> Any:
    return np.ones(n)


def test_all_ranks_run_jobs_in_their_main_thread() -> None:
    n = 12 * WORLD.size
    places = run(lambda pool: [pool.submit(thread) for _ in range(n)], main_works=True)
    if MAIN:
        assert set(places) == {(rank, True) for rank in ALL}


def test_listeners_and_callbacks_are_called_in_one_other_thread() -> None:
    threads: set[str] = set()

    def note(event: Any) -> None:
        threads.add(threading.current_thread().name)

    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            pool.submit(give).on_completion(note)
        names = pool.execute()
        assert names is None
    assert threads == ({"bsbpool-dispatcher"} if MAIN else set())


def test_listeners_are_called_while_rank_0_runs_a_long_job() -> None:
    times: list[float] = []
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            long = pool.options(targets=[0]).submit(work, 0.5)
            short = [pool.options(targets=[1]).submit(work) for _ in range(5)]
            for job in short:
                job.on_completion(lambda job: times.append(time.monotonic()))
        pool.execute()
        if MAIN:
            assert len(times) == 5 and max(times) < long.result.end


def test_conditions_and_data_name_rank_0() -> None:
    with create_job_pool(
        quiet=True, main_works=True, timestamps=True, resources={0: {"seat": 1}}
    ) as pool:
        if MAIN:
            here = pool.options(targets=[0]).submit(rank)
            followed = pool.options(follow=[here]).queue(rank, deps=[here])
            seat = pool.options(resources={"seat": 1}).submit(rank)
            parts = pool.scatter(np.arange(1000.0))
            sums = [pool.submit(total, part) for part in parts.values()]
            pushed = pool.push({"shared_name": 5})
            with pytest.raises(ValueError, match=f"its ranks 0 to {WORLD.size - 1} do"):
                pool.options(targets=[WORLD.size]).submit(rank)
        results = pool.execute(return_results=True)
        if MAIN:
            assert [results[job] for job in (here, followed, seat)] == [0, 0, 0]
            assert set(parts) == set(pushed) == ALL
            assert sum(results[job] for job in sums) == np.arange(1000.0).sum()
            assert here.metadata.rank == 0 and here.metadata.host
            assert [worker.rank for worker in pool.statistics().workers] == sorted(ALL)


def test_large_data_go_from_and_to_rank_0() -> None:
    """Results that stay on their worker are sent between all ranks, and broadcast objects too."""
    n = 200_000
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            made = {
                rank: pool.options(targets=[rank], keep="worker").submit(ones, n) for rank in ALL
            }
            sums = [
                pool.options(targets=[rank]).submit(total, job)
                for rank in ALL
                for job in made.values()
            ]
            data = pool.broadcast(np.full(n, 2.0))
            shared = [pool.options(targets=[rank]).submit(total, data) for rank in ALL]
            back = [pool.options(targets=[rank]).submit(ones, n) for rank in ALL]
        results = pool.execute(return_results=True)
        if MAIN:
            assert {results[job] for job in sums} == {float(n)}
            assert {results[job] for job in shared} == {2.0 * n}
            assert all(results[job].sum() == n for job in back)


def test_a_job_gets_copies_and_returns_them() -> None:
    """As on any rank: the jobs of rank 0 share no objects with its program."""
    given = [1, 2, 3]

    def change(owner: Any, numbers: list[int]) -> list[int]:
        numbers.append(4)
        return numbers

    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            job = pool.options(targets=[0]).submit(change, given)
        results = pool.execute(return_results=True)
        if MAIN:
            assert results[job] == [1, 2, 3, 4] and given == [1, 2, 3]


def test_retries_go_to_rank_0() -> None:
    def only_on_0(owner: Any) -> int:
        if WORLD.rank:
            raise ValueError("elsewhere")
        return bsbpool.current_job().attempt

    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            options = {"retries": 1, "retry_elsewhere": True, "targets": [0, 1]}
            job = pool.options(**options).submit(only_on_0)
        pool.execute()
        if MAIN:
            assert job.status is JobStatus.SUCCESS
            assert 0 not in {attempt.rank for attempt in job.attempts}


def test_a_job_on_rank_0_is_cancelled_and_times_out() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            slow = pool.options(targets=[0]).submit(work, 30.0)
            late = pool.options(targets=[0], timeout=0.1).submit(work, 30.0)
            pool.options(targets=[1]).submit(work, 0.1).on_completion(
                lambda job: slow.cancel(running=True)
            )
        began = time.monotonic()
        with pytest.raises(WorkflowError):
            pool.execute()
        assert time.monotonic() - began < 10
        if MAIN:
            assert slow.status is JobStatus.CANCELLED
            assert late.status is JobStatus.FAILED
            assert isinstance(late.error, bsbpool.JobTimeoutError)
    pool_works(main_works=True)


def test_a_time_limit_interrupts_the_job_of_rank_0() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            job = pool.options(targets=[0]).submit(work, 30.0)
        began = time.monotonic()
        with pytest.raises(JobPoolTimeoutError if MAIN else WorkflowError):
            pool.execute(timeout=0.2)
        assert time.monotonic() - began < 10
        if MAIN:
            assert job.status is JobStatus.ABORTED
    pool_works(main_works=True)


@pytest.mark.parametrize("where", ["in a job", "while idle"])
def test_ctrl_c_ends_the_run(where: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            place = 0 if where == "in a job" else 1
            job = pool.options(targets=[place]).submit(work, 30.0)
            kill = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
            kill.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt if MAIN else WorkflowError):
            pool.execute()
        assert time.monotonic() - began < 10
        if MAIN:
            assert job.status is JobStatus.ABORTED
            assert signal.getsignal(signal.SIGINT) is before
    pool_works(main_works=True)


def test_an_error_in_a_listener_is_raised_by_execute() -> None:
    def listener(progress: Any) -> None:
        if getattr(progress, "status", None) is JobStatus.SUCCESS:
            raise LookupError("in the listener")

    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            pool.add_listener(listener)
            pool.submit(give)
            pool.options(targets=[0]).submit(work, 0.1)
        with pytest.raises(LookupError if MAIN else WorkflowError):
            pool.execute()
    pool_works(main_works=True)


def test_a_failed_job_of_rank_0_and_its_dependents() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            bad = pool.options(targets=[0]).submit(fail)
            after = pool.queue(give, deps=[bad])
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            assert (bad.status, after.status) == (JobStatus.FAILED, JobStatus.CANCELLED)
            assert bad.error.__cause__.rank == 0


def test_a_pool_inside_a_job_of_rank_0_is_serial() -> None:
    def inner(owner: Any) -> tuple[int, bool, int]:
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(rank)
            results = pool.execute(return_results=True)
            return results[job], pool.parallel, bsbpool.services.MPI.bcast(7)

    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            job = pool.options(targets=[0]).submit(inner)
        results = pool.execute(return_results=True)
        if MAIN:
            assert results[job] == (0, False, 7)


def test_a_thread_that_executes_cannot_wait_for_jobs() -> None:
    errors = []

    def wait(job: Any) -> None:
        try:
            pool.jobs[1].wait()
        except JobPoolError as error:
            errors.append(error)

    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            pool.submit(give).on_completion(wait)
            pool.submit(work, 0.1)
        pool.execute()
    assert [str(error).partition("; ")[0] for error in errors] == (
        ["A wait for a job would not end: this thread executes the pool"] if MAIN else []
    )


def test_pools_of_both_shapes_alternate() -> None:
    for main_works in (True, False, True):
        n = 12 * WORLD.size
        ranks = run(
            lambda pool, n=n: [pool.submit(work, 0.005) for _ in range(n)], main_works=main_works
        )
        if MAIN:
            assert (0 in {job.rank for job in ranks}) == main_works
    with create_job_pool(quiet=True, main_works=True):
        pass  # not executed
    pool_works(main_works=True)


def test_the_argument_of_job_pool_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def places(**settings: Any) -> set[int]:
        with JobPool(1, None, **settings) as pool:
            jobs = [pool.submit(work, 0.005) for _ in range(12 * WORLD.size)] if MAIN else []
            pool.execute()
            return {job.result.rank for job in jobs}

    assert places(main_works=True) == (ALL if MAIN else set())
    monkeypatch.setenv("BSBPOOL_MAIN_WORKS", "1")
    assert places() == (ALL if MAIN else set())
    assert 0 not in places(main_works=False)
    monkeypatch.setenv("BSBPOOL_MAIN_WORKS", "maybe")
    with pytest.raises(ValueError, match="BSBPOOL_MAIN_WORKS is 'maybe'; set it to 1 or 0"):
        create_job_pool(quiet=True)
    monkeypatch.setenv("BSBPOOL_MAIN_WORKS", "0")
    pool_works()


def test_no_message_is_left_when_the_communicator_is_freed() -> None:
    for _ in range(5):
        comm = WORLD.Dup()
        with create_job_pool(quiet=True, comm=comm, main_works=True) as pool:
            if MAIN:
                made = [pool.options(targets=[r], keep="worker").submit(ones, 50_000) for r in ALL]
                for job in made:
                    pool.submit(total, job)
            pool.execute()
        comm.Free()


# ------------------------------------------------------------------ executors


started: list[int] = []


def initialize(value: int) -> None:
    started.append(value)


def place_of_call(seconds: float = 0.0) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:  # a thread that sleeps for long cannot be interrupted
        time.sleep(0.001)
    return WORLD.rank


def test_the_root_of_an_executor_runs_calls() -> None:
    started.clear()
    with PoolExecutor(main_works=True, initializer=initialize, initargs=(1,)) as executor:
        if executor is not None:
            assert executor.num_workers == WORLD.size
            futures = [executor.submit(place_of_call, 0.005) for _ in range(12 * WORLD.size)]
            threads: set[str] = set()
            futures[0].add_done_callback(
                lambda future: threads.add(threading.current_thread().name)
            )
            assert {future.result() for future in futures} == ALL
            mapped = Counter(executor.map(place_of_call, [0.005] * 12 * WORLD.size))
            assert set(mapped) == ALL
            assert started == [1]
            assert threads <= {"bsbpool-executor", "MainThread"}


def test_calls_of_the_root_are_cancelled_and_limited() -> None:
    with PoolExecutor(main_works=True, max_workers=1) as executor:
        if executor is not None:  # the other ranks come before the root
            assert {executor.submit(place_of_call).result() for _ in range(5)} == {1}
    with PoolExecutor(main_works=True) as executor:
        if executor is not None:
            here = executor.options(targets=[0], timeout=0.1).submit(place_of_call, 30.0)
            with pytest.raises(bsbpool.JobTimeoutError):
                here.result()
            with pytest.raises(ZeroDivisionError):
                executor.options(targets=[0]).submit(divmod, 1, 0).result()
            assert executor.options(targets=[0]).submit(place_of_call).result() == 0


def test_a_root_that_leaves_early_does_not_wait_for_its_call() -> None:
    began = time.monotonic()
    with pytest.raises(SystemExit) if MAIN else _nothing(), PoolExecutor(main_works=True) as calls:
        if calls is not None:
            calls.options(targets=[0]).submit(time.sleep, 2.0)
            time.sleep(0.1)
            raise SystemExit
    assert time.monotonic() - began < 1.9
    time.sleep(2.1 if MAIN else 0)  # the call of the thread that was left
    pool_works(main_works=True)


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_interrupted_errors_are_known(capfd: Any) -> None:
    """The error that cancels a job of rank 0 is that of other ranks."""
    with create_job_pool(quiet=True, main_works=True) as pool:
        if MAIN:
            caught: list[str] = []

            def until_cancelled(owner: Any) -> str:
                try:
                    time.sleep(30)
                except JobCancelledError as error:
                    return type(error).__name__
                return "not cancelled"

            job = pool.options(targets=[0]).submit(until_cancelled)
            pool.options(targets=[1]).submit(work, 0.1).on_completion(
                lambda done: job.cancel(running=True)
            )
            assert caught == []
        pool.execute()
        if MAIN:
            assert job.status is JobStatus.CANCELLED


def test_jobs_on_several_ranks_are_refused() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        if pool.is_main():
            with pytest.raises(ValueError, match="use main_works=False"):
                pool.options(ranks=2).submit(give, 1)
        pool.execute()
    with PoolExecutor(main_works=True) as executor:
        if executor is not None:
            with pytest.raises(ValueError, match="use main_works=False"):
                executor.options(ranks=2).submit(abs, 1)
