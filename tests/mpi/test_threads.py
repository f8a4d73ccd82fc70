"""Many threads at one pool while workers run: every job is accounted for exactly once."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bsbpool import JobPoolError, JobStatus, create_job_pool
from bsbpool.status import FINISHED
from helpers.queueing import Queueing

from .support import MAIN, WORLD, give, pool_works, work

pytestmark = pytest.mark.mpi(min_size=2)

THREADS = 8


@contextmanager
def meanwhile(do: Callable[[], Any]) -> Iterator[None]:
    """Do something again and again in another thread, on main."""
    stop, errors = threading.Event(), []

    def again() -> None:
        try:
            while not stop.is_set():
                do()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=again, daemon=True)
    if MAIN:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if MAIN:
            thread.join(10)
    assert not errors, errors
    assert not thread.is_alive()


def queue_and_run(jobs: int) -> None:
    runs = [0]
    with create_job_pool(runs, quiet=True) as pool:
        books = Queueing(pool, THREADS, jobs)
        if MAIN:
            books.start()
        results = pool.execute(return_results=True)
        total = WORLD.allreduce(runs[0])
        if MAIN:
            assert runs == [0]
            books.check_all_ran(results, total)


def test_eight_threads_queue_while_workers_run() -> None:
    queue_and_run(2_000)


@pytest.mark.slow
@pytest.mark.limit(240)
def test_eight_threads_queue_a_hundred_thousand_jobs_each() -> None:
    queue_and_run(100_000)


def test_jobs_are_cancelled_by_another_thread_while_others_run() -> None:
    runs, cancelled = [0], set()
    with create_job_pool(runs, quiet=True) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those that run already, or have
        books = Queueing(pool, THREADS, 1_000)

        def cancel() -> None:
            for jobs in books.jobs:
                for job in jobs[-1:]:
                    cancelled.add(job)
                    job.cancel("not wanted")
            time.sleep(0.0005)

        if MAIN:
            books.start()
        with meanwhile(cancel):
            pool.execute()
        total = WORLD.allreduce(runs[0])
        if MAIN:
            books.check_some_cancelled(cancelled, total)
            assert any(job.status is JobStatus.CANCELLED for job in cancelled)


def test_results_are_read_by_another_thread_while_others_run() -> None:
    """A job that has succeeded has its result at once, until the pool is left."""
    seen = [0]
    runs = [0]
    with meanwhile(lambda: read()):
        with create_job_pool(runs, quiet=True) as pool:
            books = Queueing(pool, 4, 2_000)

            def read() -> None:
                for thread, jobs in enumerate(books.jobs):
                    for number, job in enumerate(jobs[-500:], max(0, len(jobs) - 500)):
                        read_one(job, (thread, number))

            def read_one(job: Any, value: Any) -> None:
                try:
                    if job.status is not JobStatus.SUCCESS:
                        return
                    found = job.result
                except JobPoolError:
                    assert pool.id is None or pool not in type(pool)._pools.values() or closing()
                    return
                assert found == value or found[0] == value[0]
                seen[0] += 1

            if MAIN:
                books.start()
            pool.execute()
        # The reader goes on while the pool is left.
    assert seen[0] or not MAIN


def test_callbacks_queue_jobs_while_threads_do() -> None:
    runs = [0]
    late: list[Any] = []
    with create_job_pool(runs, quiet=True) as pool:
        books = Queueing(pool, THREADS, 500)

        def more(job: Any) -> None:
            assert job.status is JobStatus.SUCCESS
            if len(late) < 2_000:
                late.append(pool.submit(give, len(late), deps=[job]))
                late[-1].on_completion(more)

        if MAIN:
            for _ in range(10):
                pool.submit(give).on_completion(more)
            books.start()
        results = pool.execute(return_results=True)
        total = WORLD.allreduce(runs[0])
        if MAIN:
            assert total == THREADS * 500
            assert [results[job] for job in late] == list(range(len(late)))
            assert 2_000 <= len(late) < 2_010
            assert len(pool.jobs) == total + len(late) + 10


def test_a_listener_queues_and_cancels_while_threads_queue() -> None:
    runs, cancelled = [0], set()
    late: list[Any] = []
    ended: dict[Any, int] = {}
    with create_job_pool(runs, quiet=True) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        books = Queueing(pool, THREADS, 500)

        def listener(record: Any) -> None:
            if record.status not in FINISHED:
                return
            ended[record.job] = ended.get(record.job, 0) + 1
            if len(late) < 300:
                late.append(pool.submit(give, len(late)))
            if len(ended) % 7 == 0:
                job = books.jobs[len(ended) % THREADS][-1:]
                cancelled.update(job)
                for one in job:
                    one.cancel()

        if MAIN:
            pool.add_listener(listener)
            books.start()
        pool.execute()
        total = WORLD.allreduce(runs[0])
        if MAIN:
            books.check_some_cancelled(cancelled, total)
            assert [job.result for job in late] == list(range(300))
            assert set(ended) == set(pool.jobs)
            assert set(ended.values()) == {1}, "an end was told twice"


# ------------------------------------------------------------------ pools in two threads


def executed_in_a_thread(pool: Any) -> tuple[threading.Thread, list[BaseException]]:
    """Execute a pool in another thread; what it raises comes into the list."""
    errors: list[BaseException] = []

    def execute() -> None:
        try:
            with pool:
                if pool.is_main():
                    pool.submit(give, 1)
                pool.execute()
        except BaseException as error:
            errors.append(error)

    return threading.Thread(target=execute, daemon=True), errors


def test_a_second_pool_in_another_thread_is_refused_and_the_first_goes_on() -> None:
    second = create_job_pool(quiet=True)
    with create_job_pool(quiet=True) as first:
        jobs = [first.submit(work, 0.001) for _ in range(300)] if MAIN else []
        thread, errors = executed_in_a_thread(second)
        starter = threading.Timer(0.05, thread.start)
        starter.start()
        first.execute()
        starter.join(10)
        thread.join(10)
        assert not thread.is_alive()
        assert [type(error) for error in errors] == [RuntimeError], errors
        assert "one after the other" in str(errors[0])
        assert {job.status for job in jobs} <= {JobStatus.SUCCESS}
    pool_works()
