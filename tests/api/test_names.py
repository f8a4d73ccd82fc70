"""The names and signatures that code for `bsb.services` needs."""

from __future__ import annotations

import inspect

import pytest

import bsbpool.services._pool_listeners as listener_names
import bsbpool.services._util as util_names
import bsbpool.services.pool as names
from bsbpool import Workflow
from bsbpool.exceptions import DependencyError

from .support import nothing


def missing(thing, wanted):
    """Return the names of `wanted` that an object does not have."""
    return [name for name in wanted.split() if not hasattr(thing, name)]


class TestModules:
    @pytest.mark.parametrize(
        "wanted",
        [
            "JobStatus PoolStatus PoolProgressReason WorkflowError JobErroredError Workflow",
            "PoolProgress PoolJobAddedProgress PoolJobUpdateProgress PoolStatusProgress",
            "SubmissionContext Job FunctionJob PlacementJob ConnectivityJob JobPool",
            "dispatcher get_node_cache_items free_stale_pool_cache pool_cache _cache_hash",
            "JobPoolError JobCancelledError JobPoolContextError JobSchedulingError",
            "_MPIPool _MPIPoolModule _MissingMPIExecutor MockModule ErrorModule",
        ],
    )
    def test_pool_has(self, wanted):
        assert missing(names, wanted) == []

    def test_pool_listeners_has(self):
        wanted = "Listener NonTTYTerminalListener TTYTerminalListener JobTally PoolTally"
        assert missing(listener_names, wanted) == []

    def test_the_executor_is_not_public(self):
        with pytest.raises(DependencyError, match=r"Use `\.services\.JobPool` instead"):
            _ = names._MPIPool.MPIExecutor.anything
        names._MPIPool.enable_serde_logging()

    def test_util(self):
        assert util_names.MockModule("json").dumps(1) == "1"
        assert util_names.MockModule("no_such_package")._mocked is True
        with pytest.raises(DependencyError, match="told you"):
            _ = util_names.ErrorModule("told you").anything


class TestEnums:
    @pytest.mark.parametrize(
        ("kind", "members"),
        [
            ("JobStatus", "PENDING QUEUED RUNNING SUCCESS FAILED CANCELLED ABORTED"),
            ("PoolStatus", "SCHEDULING EXECUTING CLOSING"),
            (
                "PoolProgressReason",
                "POOL_STATUS_CHANGE JOB_ADDED JOB_STATUS_CHANGE MAX_TIMEOUT_PING JOB_OUTPUT",
            ),
        ],
    )
    def test_members(self, kind, members):
        assert [member.name for member in getattr(names, kind)] == members.split()

    @pytest.mark.parametrize("kind", ["JobStatus", "PoolStatus"])
    def test_values_are_strings(self, kind):
        for member in getattr(names, kind):
            assert member.value == member.name.lower()


class TestSignatures:
    @pytest.mark.parametrize(
        ("function", "parameters"),
        [
            (names.JobPool, "id scaffold fail_fast workflow"),
            (names.JobPool.queue, "self f args kwargs deps context"),
            (names.JobPool.queue_placement, "self strategy chunk deps"),
            (names.JobPool.queue_connectivity, "self strategy pre_roi post_roi deps"),
            (names.JobPool.schedule, "self nodes scheduler"),
            (names.JobPool.execute, "self return_results"),
            (names.JobPool.add_listener, "self listener max_wait"),
            (names.FunctionJob, "pool f args kwargs deps cache_items context"),
            (names.SubmissionContext, "submitter chunks kwargs"),
            (names.Job.cancel, "self reason"),
            (names.Job.run, "self timeout"),
            (names.PoolProgress, "pool reason"),
            (names.PoolJobUpdateProgress, "pool job old_status"),
            (names.free_stale_pool_cache, "scaffold required"),
        ],
    )
    def test_positions(self, function, parameters):
        given = list(inspect.signature(function).parameters)
        expected = parameters.split()
        if expected[0] == "scaffold":  # only its position matters
            given[0] = "scaffold"
        assert given[: len(expected)] == expected


class TestPool:
    @pytest.mark.parametrize(
        "wanted",
        [
            "id workflow status jobs parallel owner scheduling is_main get_submissions_of",
            "queue queue_placement queue_connectivity schedule execute",
            "add_listener add_notification ping notify raise_unhandled change_status",
            "get_required_cache_items get_owner get_tmp_folder",
            "_max_wait _comm _job_queue _listeners _unhandled_errors _fail_fast _schedulers",
            "_progress_notifications _cache_window _cache_buffer _update_cache_window",
            "_read_required_cache_items _mpipool _running_futures _scaffold",
        ],
    )
    def test_has(self, bsb_pool, wanted):
        assert missing(bsb_pool, wanted) == []

    def test_private_names_have_correct_values(self, bsb_pool):
        job = bsb_pool.submit(nothing)
        assert bsb_pool._job_queue == [job]
        assert bsb_pool._fail_fast is False
        assert bsb_pool._mpipool is None
        assert bsb_pool._listeners == []
        assert bsb_pool._unhandled_errors == []
        assert bsb_pool._comm.get_size() == 1


class TestJob:
    @pytest.mark.parametrize(
        "wanted",
        [
            "name description context submitter status error serialize execute",
            "run on_completion set_result set_exception cancel change_status",
            "_error _status _deps _cache_items pool_id _submit_ctx _args _kwargs _pool",
        ],
    )
    def test_has(self, bsb_pool, wanted):
        assert missing(bsb_pool.submit(nothing), wanted) == []

    def test_has_its_pool(self, bsb_pool):
        job = bsb_pool.submit(nothing)
        assert job.pool_id == bsb_pool.id
        assert job._pool is bsb_pool
        assert job._status is job.status


class TestWorkflow:
    def test_phases_follow_each_other(self):
        workflow = Workflow(["placement", "connectivity"])
        assert (workflow.phase, workflow.finished) == ("placement", False)
        assert workflow.next_phase() == workflow.phase == "connectivity"
        assert workflow.next_phase() == workflow.phase == "finished"
        assert workflow.finished
        assert workflow.next_phase() == "finished"

    def test_gives_a_copy_of_the_phases(self):
        workflow = Workflow(name for name in ("a", "b"))
        workflow.phases.clear()
        assert workflow.phases == ["a", "b"]

    def test_without_phases_is_finished(self):
        assert Workflow([]).finished


def test_dispatcher_needs_an_open_pool():
    with pytest.raises(KeyError):
        names.dispatcher(-1, ("FunctionJob", (nothing, ()), {}))


def test_change_status_is_reported_with_the_next_notify(pool):
    records = []
    pool.add_listener(records.append)
    pool.change_status(names.PoolStatus.CLOSING)
    assert pool.status is names.PoolStatus.CLOSING
    assert records == []
    pool.notify()
    assert [record._old_status for record in records] == [names.PoolStatus.SCHEDULING]
