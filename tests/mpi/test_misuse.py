"""On several ranks: refused calls do not affect the run, and the counts of jobs are correct."""

from __future__ import annotations

import threading
import time
import warnings
from concurrent.futures import Future, wait
from itertools import pairwise

import pytest

from bsbpool import (
    JobPoolContextError,
    JobPoolTimeoutError,
    JobStatus,
    PoolExecutor,
    WorkflowError,
    create_job_pool,
)
from bsbpool.listeners.log import LogListener

from .support import MAIN, WORKERS, fail, give, pool_works, work

pytestmark = pytest.mark.mpi(min_size=2)


def refused(act):
    """Return a function that calls `act`, and the errors that it gets."""
    errors = []

    def call(*_):
        if not errors:
            errors.append(None)  # a listener is called again before this returns
            with pytest.raises(JobPoolContextError) as caught:
                act()
            errors[0] = str(caught.value)

    return call, errors


def in_thread(call):
    def start(*_):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    return start


@pytest.mark.parametrize("what", ["execute", "__exit__", "__enter__"])
def test_18_the_run_continues_after_refused_calls(what) -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            arguments = [None] * 3 if what == "__exit__" else []
            calls = [refused(lambda: getattr(pool, what)(*arguments)) for _ in range(4)]
            pool.add_listener(lambda record: record.status is JobStatus.RUNNING and calls[0][0]())
            pool.submit(give, 1).on_completion(calls[1][0])
            pool.submit(give, 2).on_completion(in_thread(calls[2][0]))
            pool.schedule([None], calls[3][0])
            pool.queue_many(give, zip(range(3, 20)))
        results = pool.execute(return_results=True)
        if MAIN:
            assert sorted(results.values()) == list(range(1, 20))
            assert all(errors[0] for _, errors in calls)
    pool_works()


def test_18_another_pool_of_these_ranks_is_refused_while_one_executes() -> None:
    with create_job_pool(quiet=True) as inner, create_job_pool(quiet=True) as pool:
        errors = []

        def use_another(job):
            try:
                inner.execute()
            except RuntimeError as error:
                errors.append(error)

        if MAIN:
            inner.submit(give, 0)
            pool.submit(give, 1).on_completion(use_another)
            pool.queue_many(give, zip(range(2, 10)))
        results = pool.execute(return_results=True)
        if MAIN:
            assert sorted(results.values()) == list(range(1, 10))
            assert "Another pool" in str(errors[0])
        else:
            with pytest.raises(WorkflowError):
                inner.execute()
    pool_works()


def wait_for(owner, path) -> None:
    while not path.exists():
        time.sleep(0.001)


def test_19_chains_of_callbacks(tmp_path) -> None:
    n = 5_000
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            gate = pool.submit(wait_for, tmp_path / "open")
            jobs = [pool.submit(give, k, deps=[gate]) for k in range(n)]
            for job, following in pairwise(jobs):
                job.on_completion(lambda job, following=following: following.cancel())
            jobs[-1].on_completion(lambda job: (tmp_path / "open").touch())
            pool.add_listener(lambda record: record.status is JobStatus.RUNNING and begin())

            def begin():
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    jobs[0].cancel()

        pool.execute()
        if MAIN:
            assert gate.status is JobStatus.SUCCESS
            assert {job.status for job in jobs} == {JobStatus.CANCELLED}
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.submit(give, 0)
            jobs = [job]

            def end_another(job):
                if len(jobs) < n:
                    following = pool.submit(give, 0, deps=[jobs[0]])
                    jobs.append(following)
                    following.on_completion(end_another)
                    following.set_result(len(jobs))

            job.on_completion(end_another)
        pool.execute()
        if MAIN:
            assert len(jobs) == n
            assert [job.result for job in jobs] == [0, *range(2, n + 1)]


def test_19_chains_of_callbacks_of_futures(tmp_path) -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            gate = executor.submit(wait_for, None, tmp_path / "open")
            view = executor.options(deps=[gate])
            futures = [view.submit(abs, -k) for k in range(5_000)]
            for future, following in pairwise(futures):
                future.add_done_callback(lambda _, following=following: following.cancel())
            futures[0].cancel()
            # The executor's thread may have started the callbacks and may still be calling them.
            waiting = wait(futures, 30).not_done
            (tmp_path / "open").touch()
            assert not waiting and all(future.cancelled() for future in futures)
            gate.result()
            assert executor.submit(pow, 2, 3).result() == 8


def test_25_jobs_and_futures_that_do_not_stand_for_results() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            first = pool.submit(give, 1)
            assert pool.submit(give, {1: [0, first]}) is pool.jobs[1]
            with pytest.raises(TypeError, match=r"pass future.result\(\)"):
                pool.submit(give, value=Future())
            bad = pool.submit(give, {first})  # sets are not searched
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            assert "A job cannot be pickled here" in str(bad.error)
            assert pool.jobs[1].result == {1: [0, 1]}
    with PoolExecutor() as executor:
        if executor is not None:
            with pytest.raises(TypeError, match="pass its result"):
                executor.submit(give, None, [Future()])
            with pytest.raises(TypeError, match="is or contains"):
                list(executor.map(give, [None], [Future()]))
            assert executor.submit(give, None, [0, executor.submit(abs, -1)]).result() == [0, 1]


def test_29_only_main_warns_of_jobs_that_did_not_run() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with create_job_pool(quiet=True) as pool:
            pool.submit(give, 1)
    assert [str(warning.message).count("1 queued job ") for warning in caught] == [1] * MAIN
    pool_works()


def test_30_counts_of_a_run_that_times_out(capfd) -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            pool.add_listener(LogListener())
            for _ in WORKERS:
                pool.submit(work, 0.5)
            pool.queue_many(give, zip(range(5)))
        with pytest.raises(JobPoolTimeoutError if MAIN else WorkflowError):
            pool.execute(timeout=0.05)
        text = capfd.readouterr().err if MAIN else ""
    if MAIN:
        n = len(WORKERS)
        assert f"bsbpool: 0/{n + 5} jobs succeeded, 5 cancelled, {n} aborted in" in text
    pool_works()


def test_30_counts_of_a_run_with_all_final_statuses(capfd) -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            pool.add_listener(LogListener())
            bad = pool.submit(fail)
            pool.queue_many(give, [()] * 3, deps=[bad])
            pool.queue_many(give, [()] * 4)
        with pytest.raises(WorkflowError):
            pool.execute()
    if MAIN:
        text = capfd.readouterr().err
        assert "bsbpool: 4/8 jobs succeeded, 1 failed, 3 cancelled in" in text
