"""The public API on several ranks, beyond the defects of BSB's own pool."""

from __future__ import annotations

import threading
import time

import pytest

from bsbpool import Job, JobPool, JobPoolError, SubmissionContext, create_job_pool, services
from helpers.launch import mpirun

from .on_ranks import ENDED, on_ranks
from .support import Node, nothing, statuses, until


def now(owner):
    return time.time()


def sleep(owner, seconds):
    time.sleep(seconds)


class Adder(Job):
    """A subclass of Job in a module."""

    @staticmethod
    def execute(job_owner, args, kwargs):
        return sum(args, **kwargs)


@on_ranks(3)
def test_a_reply_does_not_wait_behind_a_long_job():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            short = [pool.submit(nothing) for _ in range(2_000)]  # such jobs are sent ahead
            gate = [pool.submit(nothing, deps=short)]
            first = pool.submit(now, deps=gate)
            pool.submit(sleep, 1.5, deps=gate)
            second = pool.submit(now, deps=[first])
        pool.execute()
        if pool.is_main():
            assert second.result - first.result < 1.0


@on_ranks(3)
def test_ids_stay_the_same_on_all_ranks():
    def opens_one(owner):
        with create_job_pool(quiet=True) as inner:
            inner.submit(nothing)
            inner.execute()

    for _ in range(3):
        with create_job_pool("owner", quiet=True) as pool:
            assert len(set(services.MPI.allgather(pool.id))) == 1
            if pool.is_main():
                pool.submit(opens_one)
                job = pool.submit(lambda owner, id: JobPool.get_owner(id), pool.id)
            pool.execute()
            assert not pool.is_main() or job.result == "owner"


@on_ranks(2)
def test_users_may_define_their_own_job_classes():
    class Local(Job):
        @staticmethod
        def execute(job_owner, args, kwargs):
            return job_owner, args

    with create_job_pool("owner", quiet=True) as pool:
        if pool.is_main():
            added = pool.put(Adder(pool, SubmissionContext(None), (1, 2), {"start": 3}))
            local = pool.put(Local(pool, SubmissionContext(None), (4,), {}, deps=[added]))
        pool.execute()
        if pool.is_main():
            assert added.result == 6
            assert local.result == ("owner", (4,))


@on_ranks(2)
def test_each_access_to_a_result_returns_a_new_copy():
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(lambda owner: [1]) if pool.is_main() else None
        pool.execute()
        if job:
            job.result.append(2)
            assert job.result == [1]
    if job:
        with pytest.raises(JobPoolError, match="not available"):
            _ = job.result


@on_ranks(2)
def test_jobs_queued_or_scheduled_on_workers_never_run():
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(now)
        pool.schedule([Node("node", lambda pool: pool.submit(now, deps=[job]))])
        assert until(lambda: len(pool.jobs) == 2)
        results = pool.execute(return_results=True)
        assert len(results) == (2 if pool.is_main() else 0)
        if not pool.is_main():
            assert statuses(*pool.jobs) == ["pending", "pending"]
        with pytest.raises(JobPoolError, match="has already been executed; open a new pool"):
            pool.submit(now)


@on_ranks(2)
def test_a_block_without_execute_ends_on_all_ranks():
    for _ in range(3):
        with create_job_pool(quiet=True) as pool:
            if pool.is_main():
                pool.submit(nothing)
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(now) if pool.is_main() else None
        pool.execute()
        assert job is None or job.result


@on_ranks(3)
def test_jobs_run_in_the_thread_that_executes():
    here = threading.get_ident()

    class Owner:
        thread = here

    def same(owner):
        return threading.get_ident() == owner.thread

    with create_job_pool(Owner(), quiet=True) as pool:
        jobs = [pool.submit(same) for _ in range(4)] if pool.is_main() else []
        pool.execute()
        assert all(job.result for job in jobs)


def test_functions_that_only_the_main_script_defines_run_on_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from bsbpool import create_job_pool\n"
        "with create_job_pool(quiet=True) as pool:\n"
        "    if pool.is_main():\n"
        "        offset = 20\n"
        "        def double(owner, x): return 2 * x + offset\n"
        "        job = pool.submit(double, 11)\n"
        "    pool.execute()\n"
        "    if pool.is_main():\n"
        f"        print(job.result, {ENDED!r})\n"
    )
    done = mpirun(2, script, timeout=40)
    assert f"42 {ENDED}" in done.stdout, done.stdout
