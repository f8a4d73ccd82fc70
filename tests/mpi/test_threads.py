"""Several threads use one pool while workers run: every job has exactly one outcome."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bsbpool import JobPoolError, JobStatus, WorkflowError, create_job_pool
from bsbpool.status import FINISHED
from helpers.queueing import Queueing

from .support import MAIN, WORLD, give, pool_works

pytestmark = pytest.mark.mpi(min_size=2)

THREADS = 8


@contextmanager
def meanwhile(do: Callable[[], Any]) -> Iterator[None]:
    """Call a function repeatedly in another thread, on main."""
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


@pytest.mark.many_ranks
@pytest.mark.limit(240)
def test_eight_threads_queue_100000_jobs_each() -> None:
    queue_and_run(100_000)


def test_jobs_are_cancelled_by_another_thread_while_others_run() -> None:
    runs, cancelled = [0], set()
    with create_job_pool(runs, quiet=True) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the jobs that run or have ended
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


def test_results_are_read_by_another_thread_until_the_pool_is_left() -> None:
    """A successful job has its result immediately."""
    found, leaving = threading.Event(), threading.Event()
    pool = create_job_pool([0], quiet=True)
    books = Queueing(pool, 4, 2_000)

    def read() -> None:
        for thread, jobs in enumerate(books.jobs):
            known = len(jobs)
            for number in range(max(0, known - 300), known):
                read_one(jobs[number], (thread, number))

    def read_one(job: Any, expected: Any) -> None:
        if job.status is JobStatus.SUCCESS:
            try:
                assert job.result == expected
                found.set()
            except JobPoolError:
                assert leaving.is_set(), "there is no result though the job has succeeded"

    with meanwhile(read), pool:
        if MAIN:
            books.start()
        pool.execute()
        # A quick run ends before the reader finds a finished job.
        assert not MAIN or found.wait(20)
        leaving.set()


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
            assert set(ended.values()) == {1}, "an end was reported twice"


# ------------------------------------------------------------------ pools in two threads


def in_a_thread(do: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    """Call a function in another thread; its errors are appended to the list."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            do()
        except BaseException as error:
            errors.append(error)

    return threading.Thread(target=run, daemon=True), errors


def run_beside(do: Callable[[], Any]) -> list[BaseException]:
    """Call a function in another thread of each rank while the pool executes.

    The run goes on until these threads have ended on all ranks.
    """
    thread, errors = in_a_thread(do)
    ended: set[int] = set()
    with create_job_pool(thread, quiet=True) as pool:

        def go_on(job: Any) -> None:
            if thread.ident is None:
                thread.start()
            assert job.status is JobStatus.SUCCESS
            rank, over = job.result
            if over:
                ended.add(rank)
            if thread.is_alive() or len(ended) < WORLD.Get_size() - 1:
                pool.submit(start_and_look).on_completion(go_on)

        if MAIN:
            for _ in range(20):
                pool.submit(start_and_look).on_completion(go_on)
        pool.execute()
        assert not thread.is_alive()
    return errors


def start_and_look(thread: threading.Thread) -> tuple[int, bool]:
    """Start the thread of this rank once; return the rank and whether the thread has ended."""
    if thread.ident is None:
        thread.start()
    time.sleep(0.001)
    return WORLD.Get_rank(), not thread.is_alive()


def execute(pool: Any) -> None:
    with pool:
        if pool.is_main():
            pool.submit(give, 1)
        pool.execute()


def test_a_second_pool_in_another_thread_is_refused_and_the_first_continues() -> None:
    second = create_job_pool(quiet=True)
    errors = run_beside(lambda: execute(second))
    assert [type(error) for error in errors] == [RuntimeError], errors
    assert "one after the other" in str(errors[0])
    pool_works()


def test_many_pools_are_refused_while_messages_are_in_transit() -> None:
    """One thread sends the ends of these pools while the other sends and receives."""
    others = [create_job_pool(quiet=True) for _ in range(100)]
    refused: list[str] = []

    def one_by_one() -> None:
        for other in others:
            try:
                execute(other)
            except (RuntimeError, JobPoolError, WorkflowError) as error:
                refused.append(str(error))

    assert run_beside(one_by_one) == []
    assert len(refused) == 100
    assert all("one after the other" in text for text in refused), refused
    pool_works()


def test_no_pool_is_created_on_main_while_another_thread_executes_one() -> None:
    """The ranks could not agree on the order of the two."""

    def make() -> None:
        if MAIN:
            create_job_pool(quiet=True)

    errors = run_beside(make)
    assert [type(error) for error in errors] == ([RuntimeError] if MAIN else [])
    pool_works()
