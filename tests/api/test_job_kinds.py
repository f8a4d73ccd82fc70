"""Kinds of jobs: functions, the strategies of a scaffold, and user-defined subclasses."""

from __future__ import annotations

import pytest

from bsbpool import Job, SubmissionContext, WorkflowError
from bsbpool.function_job import FunctionJob
from bsbpool.integrations.bsb.jobs import ConnectivityJob, PlacementJob
from bsbpool.integrations.bsb.pool import BsbJobPool
from bsbpool.services.pool import dispatcher

from .support import Node, fail, give, nothing, statuses


class Adder(Job):
    """A subclass of Job in a module."""

    @staticmethod
    def execute(job_owner, args, kwargs):
        return sum(args, **kwargs)


class TestKinds:
    def test_a_module_level_kind(self, pool):
        job = pool.put(Adder(pool, SubmissionContext("sum"), (1, 2, 3), {"start": 10}))
        pool.execute()
        assert (job.name, job.result) == ("sum", 16)

    def test_a_local_kind(self, pool):
        class Multiplier(Job):
            @staticmethod
            def execute(job_owner, args, kwargs):
                return args[0] * args[1]

        first = pool.submit(nothing)
        job = pool.put(Multiplier(pool, SubmissionContext(None), (6, 7), {}, deps=[first]))
        pool.execute()
        assert job.result == 42

    def test_serialize_and_dispatcher_are_inverse(self, pool):
        job = pool.submit(give, 5)
        assert job.serialize() == ("FunctionJob", (give, (5,)), {})
        assert dispatcher(pool.id, job.serialize()) == 5

    def test_execute_needs_no_pool(self):
        assert FunctionJob.execute("owner", (lambda owner, x: (owner, x), (1,)), {}) == ("owner", 1)
        assert Adder.execute(None, (1, 2), {}) == 3

    def test_serialize_names_the_kind(self, pool):
        job = Adder(pool, SubmissionContext("sum"), (1,), {"start": 2})
        assert job.serialize() == ("Adder", (1,), {"start": 2})


class Strategy(Node):
    """The part of a scaffold's strategy that jobs use."""

    def get_indicators(self):
        return "indicators"

    def place(self, chunk, indicators):
        return self.name, chunk, indicators

    def connect(self, pre, post):
        return self.name, pre, post

    def _get_connect_args_from_job(self, pre, post):
        return pre, post


class Scaffold:
    def __init__(self, strategy):
        self.placement = self.connectivity = {strategy.name: strategy}


class TestStrategies:
    @pytest.fixture
    def strategy(self):
        return Strategy("granular")

    @pytest.fixture
    def pool(self, strategy):
        with BsbJobPool(1, Scaffold(strategy)) as pool:
            yield pool

    def test_placement(self, pool, strategy):
        job = pool.queue_placement(strategy, (0, 0, 1))
        assert isinstance(job, PlacementJob)
        assert job.serialize() == ("PlacementJob", ("granular", (0, 0, 1)), {})
        assert (job.name, job.submitter) == ("granular", strategy)
        assert pool.get_submissions_of(strategy) == [job]
        pool.execute()
        assert job.result == ("granular", (0, 0, 1), "indicators")

    @pytest.mark.parametrize("make", [list, iter, tuple], ids=["list", "iterator", "tuple"])
    def test_connectivity(self, pool, strategy, make):
        job = pool.queue_connectivity(strategy, make([1, 2]), make([3]))
        assert isinstance(job, ConnectivityJob)
        assert job.serialize() == ("ConnectivityJob", ("granular", [1, 2], [3]), {})
        pool.execute()
        assert job.result == ("granular", [1, 2], [3])

    def test_connectivity_of_everything(self, pool, strategy):
        job = pool.queue_connectivity(strategy, None, None)
        assert job._submit_ctx.chunks is None
        pool.execute()
        assert job.result == ("granular", None, None)

    def test_dependencies(self, pool, strategy):
        first = pool.submit(fail)
        jobs = [
            pool.queue_placement(strategy, 1, deps=[first]),
            pool.queue_connectivity(strategy, [1], None, deps=[first]),
        ]
        with pytest.raises(WorkflowError):
            pool.execute()
        assert statuses(*jobs) == ["cancelled", "cancelled"]
