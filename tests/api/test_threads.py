"""Several threads use one pool in a single process."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from bsbpool import JobStatus, create_job_pool
from helpers.queueing import Queueing

from .support import give

THREADS = 8


@pytest.mark.parametrize("jobs", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_eight_threads_queue(jobs: int) -> None:
    runs = [0]
    with create_job_pool(runs, quiet=True) as pool:
        books = Queueing(pool, THREADS, jobs)
        books.start()
        results = pool.execute(return_results=True)
        books.check_all_ran(results, runs[0])


def test_another_thread_cancels_while_jobs_run() -> None:
    """The first job starts the thread, so that jobs run at the same time."""
    runs, cancelled = [0], set()
    begin, some = threading.Event(), threading.Event()
    with create_job_pool(runs, quiet=True) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the jobs that have ended
        books = Queueing(pool, THREADS, 1_000)

        def cancel() -> None:
            assert begin.wait(20)
            for number in range(0, 1_000, 7):
                for jobs in books.jobs:
                    cancelled.add(jobs[-1 - number])
                    jobs[-1 - number].cancel("not wanted")
                some.set()

        thread = threading.Thread(target=cancel, daemon=True)
        thread.start()
        pool.submit(lambda owner: (begin.set(), some.wait(20)))
        books.start()
        pool.execute()
        thread.join(20)
        assert not thread.is_alive()
        books.check_some_cancelled(cancelled, runs[0])
        assert any(job.status is JobStatus.CANCELLED for job in cancelled)


def test_two_threads_execute_pools_concurrently() -> None:
    """Pools of one process share no communicator."""
    together = threading.Barrier(2)
    found: dict[int, Any] = {}

    def use(n: int) -> None:
        with create_job_pool(quiet=True) as pool:
            pool.submit(lambda owner: together.wait(20))
            pool.queue_many(give, [((n, i),) for i in range(2_000)])
            found[n] = list(pool.execute(return_results=True).values())[1:]

    threads = [threading.Thread(target=use, args=(n,), daemon=True) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {n: [(n, i) for i in range(2_000)] for n in range(2)}


@pytest.mark.parametrize("early", [True, False])
def test_a_result_is_never_incomplete(early: bool) -> None:
    """Another thread reads during the run and while the pool is closed."""
    stop, errors, found = threading.Event(), [], [0]
    pool = create_job_pool([0], quiet=True)
    books = Queueing(pool, 2, 1_000)

    def read() -> None:
        try:
            while not stop.is_set():
                for jobs in books.jobs:
                    for number, job in enumerate(jobs[:50] if early else jobs[-50:]):
                        found[0] += check(job, number if early else None)
        except BaseException as error:
            errors.append(error)

    def check(job: Any, number: int | None) -> bool:
        if job.status is not JobStatus.SUCCESS:
            return False
        try:
            result = job.result
        except Exception:
            assert left.is_set()
            return False
        assert type(result) is tuple and (number is None or result[1] == number)
        return True

    left = threading.Event()
    thread = threading.Thread(target=read, daemon=True)
    with pool:
        thread.start()
        books.start()
        pool.submit(lambda owner: None)
        pool.execute()
        while not found[0] and thread.is_alive():
            stop.wait(0.001)
        left.set()
    stop.set()
    thread.join(20)
    assert errors == [] and found[0]
