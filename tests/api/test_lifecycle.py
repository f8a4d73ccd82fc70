"""The lifecycle of a pool, from its creation to its end, and of several pools."""

from __future__ import annotations

import os
import threading

import pytest

from bsbpool import (
    JobPool,
    JobPoolContextError,
    JobPoolError,
    PoolStatus,
    Workflow,
    WorkflowError,
    create_job_pool,
)
from bsbpool.integrations.bsb.pool import BsbJobPool
from bsbpool.run_context import open_pools

from .support import fail, give, nothing, statuses


class TestStatus:
    def test_changes_from_none_to_closing(self):
        pool = create_job_pool(quiet=True)
        assert pool.status is None
        with pool:
            assert pool.status is PoolStatus.SCHEDULING
            seen = pool.submit(lambda owner: pool.status)
            pool.execute()
            assert seen.result is PoolStatus.EXECUTING
            assert pool.status is PoolStatus.CLOSING
        assert pool.status is PoolStatus.CLOSING

    def test_of_a_failed_run_is_closing(self, pool):
        pool.submit(fail)
        with pytest.raises(WorkflowError):
            pool.execute()
        assert pool.status is PoolStatus.CLOSING

    def test_serial_pool_is_main_and_not_parallel(self, pool):
        assert pool.is_main()
        assert not pool.parallel
        assert not pool.scheduling


class TestContext:
    def test_execute_outside_is_an_error_that_says_what_to_do(self):
        pool = create_job_pool(quiet=True)
        with pytest.raises(JobPoolContextError, match=r"use `with create_job_pool\(\) as pool:`"):
            pool.execute()
        with pool:
            pass
        with pytest.raises(JobPoolContextError, match="`with` block has ended; open a new pool"):
            pool.execute()

    def test_execute_twice_is_an_error_that_says_what_to_do(self, pool):
        pool.submit(nothing)
        pool.execute()
        with pytest.raises(JobPoolContextError, match="open a new pool"):
            pool.execute()

    def test_enter_twice_is_an_error(self, pool):
        with pytest.raises(JobPoolContextError, match="already been entered"):
            pool.__enter__()

    def test_the_block_may_end_without_execute(self):
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(nothing)
        assert statuses(job) == ["pending"]

    def test_an_empty_pool_executes(self, pool):
        assert pool.execute(return_results=True) == {}

    def test_an_error_of_the_block_is_raised(self):
        with pytest.raises(ZeroDivisionError), create_job_pool(quiet=True) as pool:
            pool.submit(nothing)
            1 / 0  # noqa: B018
        assert pool.id is None

    def test_afterwards_the_pool_has_no_id_and_no_jobs(self):
        with create_job_pool(quiet=True) as pool:
            pool.submit(nothing)
            assert isinstance(pool.id, int)
            assert len(pool.jobs) == 1
        assert pool.id is None
        assert pool.jobs == []

    @pytest.mark.parametrize("where", ["executed", "left"])
    def test_queue_on_a_closed_pool_is_an_error(self, where):
        with create_job_pool(quiet=True) as pool:
            pool.execute()
            if where == "executed":
                with pytest.raises(JobPoolError, match="open a new pool for more jobs"):
                    pool.queue(nothing)
        with pytest.raises(JobPoolError, match="open a new pool for more jobs"):
            pool.submit(nothing)


class TestExecute:
    def test_returns_none_by_default(self, pool):
        pool.submit(give, 1)
        assert pool.execute() is None

    def test_returns_results_in_the_order_of_queueing(self, pool):
        jobs = [pool.submit(give, n) for n in range(5)]
        results = pool.execute(return_results=True)
        assert list(results) == jobs
        assert list(results.values()) == [0, 1, 2, 3, 4]

    def test_results_outlive_the_pool(self):
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, "kept")
            results = pool.execute(return_results=True)
        assert results == {job: "kept"}

    def test_owner_is_the_first_argument(self):
        owner = object()
        with create_job_pool(owner, quiet=True) as pool:
            job = pool.submit(lambda own: own is owner)
            pool.execute()
            assert pool.owner is owner
            assert job.result is True

    def test_runs_jobs_that_jobs_queue(self, pool):
        def spread(owner, n):
            if n:
                pool.submit(spread, n - 1)

        pool.submit(spread, 5)
        pool.execute()
        assert statuses(*pool.jobs) == ["success"] * 6

    def test_jobs_is_a_new_list(self, pool):
        job = pool.submit(nothing)
        pool.jobs.clear()
        assert pool.jobs == [job]

    def test_has_its_workflow(self):
        workflow = Workflow(["placement"])
        with JobPool(1, None, workflow=workflow) as pool:
            assert pool.workflow is workflow


class TestRegistries:
    def test_are_filled_inside_the_block_only(self):
        owner = object()
        pool = BsbJobPool(1, owner)
        id = pool.id
        assert id not in BsbJobPool._pools
        with pool:
            assert BsbJobPool._pools[id] is pool
            assert BsbJobPool._pool_owners[id] is owner
            assert JobPool.get_owner(id) is owner
            assert id in BsbJobPool._tmp_folders
            assert os.path.isdir(JobPool.get_tmp_folder(id))
        for registry in (BsbJobPool._pools, BsbJobPool._pool_owners, BsbJobPool._tmp_folders):
            assert id not in registry
        with pytest.raises(KeyError):
            JobPool.get_owner(id)

    @pytest.mark.parametrize("error", [False, True], ids=["well", "with-an-error"])
    def test_the_folder_is_removed_with_the_pool(self, error):
        folder = ""
        try:
            with create_job_pool(quiet=True) as pool:
                folder = JobPool.get_tmp_folder(pool.id)
                with open(os.path.join(folder, "left-behind"), "w"):
                    pass
                if error:
                    raise InterruptedError
        except InterruptedError:
            pass
        assert folder
        assert not os.path.exists(folder)


class TestManyPools:
    def test_a_pool_after_a_failed_one(self):
        with create_job_pool(quiet=True) as pool, pytest.raises(WorkflowError):
            pool.submit(fail)
            pool.execute()
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, 1)
            pool.execute()
            assert job.result == 1

    def test_a_pool_inside_another(self):
        with create_job_pool("outer", quiet=True) as outer:
            before = outer.submit(lambda owner: owner)
            with create_job_pool("inner", quiet=True) as inner:
                within = inner.submit(lambda owner: owner)
                inner.execute()
                assert within.result == "inner"
            outer.execute()
            assert before.result == "outer"

    def test_a_pool_inside_a_job(self, pool):
        def opens_one(owner, n):
            with create_job_pool(n, quiet=True) as inner:
                assert inner.is_main()
                job = inner.submit(lambda own: own * 2)
                inner.execute()
                return job.result

        job = pool.submit(opens_one, 21)
        pool.execute()
        assert job.result == 42

    def test_pools_with_equal_ids_are_distinguished(self):
        with JobPool(1700000000, "a") as first, JobPool(1700000000, "b") as second:
            assert first.id != second.id
            jobs = [pool.submit(lambda owner: owner) for pool in (first, second)]
            first.execute()
            second.execute()
            assert [job.result for job in jobs] == ["a", "b"]
            assert [JobPool.get_owner(pool.id) for pool in (first, second)] == ["a", "b"]

    def test_an_id_may_be_used_again(self):
        for _ in range(3):
            with JobPool(1700000000, None) as pool:
                assert pool.id == 1700000000

    def test_two_executed_by_two_threads(self):
        results = {}

        def work(name):
            with create_job_pool(name, quiet=True) as pool:
                jobs = [pool.submit(lambda owner, n: (owner, n), n) for n in range(300)]
                pool.execute()
                results[name] = [job.result for job in jobs]

        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert results == {name: [(name, n) for n in range(300)] for name in "ab"}

    def test_5000_pools_leave_no_objects(self):
        files = len(os.listdir("/proc/self/fd"))
        threads = threading.active_count()
        for n in range(5_000):
            with create_job_pool(quiet=True) as pool:
                job = pool.submit(give, n)
                pool.execute()
                assert job.result == n
        assert len(open_pools) == 0
        assert len(os.listdir("/proc/self/fd")) <= files
        assert threading.active_count() <= threads


class TestQuiet:
    def test_a_pool_prints_its_progress(self, capfd):
        with create_job_pool() as pool:
            pool.submit(nothing)
            pool.execute()
        out, err = capfd.readouterr()
        assert "1/1" in out + err

    def test_a_quiet_one_prints_nothing(self, capfd):
        with create_job_pool(quiet=True) as pool:
            pool.submit(nothing)
            pool.execute()
        assert capfd.readouterr() == ("", "")
