"""Jobs queued by threads, by callbacks of other jobs and by listeners, while jobs run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bsbpool import JobSchedulingError, JobStatus, WorkflowError, create_job_pool

from .support import MAIN, fail, give, pool_works, run, work

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]


class Node:
    """A node that queues its jobs when it is scheduled."""

    def __init__(
        self, name: str, queue: Callable[[Any], Any], depends_on: Sequence[Node] = ()
    ) -> None:
        self.name, self._queue, self.depends_on = name, queue, list(depends_on)
        self.jobs: Any = None

    def get_node_name(self) -> str:
        return self.name

    def queue(self, pool: Any) -> None:
        self.jobs = self._queue(pool)


def queue_some(n: int, pause: float = 0.0) -> Callable[[Any], Any]:
    """Return a function that queues `n` jobs with pauses."""

    def queue(pool):
        jobs = []
        for i in range(n):
            time.sleep(pause)
            jobs.append(pool.submit(give, i))
        return jobs

    return queue


def explode(pool: Any) -> None:
    raise ZeroDivisionError("cannot plan")


def test_several_schedulers_while_jobs_run() -> None:
    with create_job_pool(quiet=True) as pool:
        nodes = [Node(f"n{i}", queue_some(30, 0.002)) for i in range(8)]
        if MAIN:
            pool.submit(work, 0.1)
            for i in range(0, 8, 2):
                pool.schedule(nodes[i : i + 2])
        results = pool.execute(return_results=True)
        if MAIN:
            for node in nodes:
                assert [results[job] for job in node.jobs] == list(range(30))
            assert len(results) == 241


def test_a_schedulers_jobs_start_before_it_has_ended() -> None:
    with create_job_pool(quiet=True) as pool:
        ended = []

        def slowly(pool):
            job = pool.submit(work)
            time.sleep(0.3)
            ended.append(time.monotonic())
            return job

        node = Node("slow", slowly)
        if MAIN:
            pool.schedule([node])
        results = pool.execute(return_results=True)
        if MAIN:
            assert results[node.jobs].start < ended[0]


def test_a_scheduler_that_waits_for_results_of_earlier_jobs() -> None:
    def in_two_steps(pool):
        first = [pool.submit(give, n) for n in range(10)]
        while not all(job.status is JobStatus.SUCCESS for job in first):
            time.sleep(0.001)
        return [pool.submit(give, job.result * 2) for job in first]

    with create_job_pool(quiet=True) as pool:
        node = Node("steps", in_two_steps)
        if MAIN:
            pool.schedule([node])
        results = pool.execute(return_results=True)
        if MAIN:
            assert [results[job] for job in node.jobs] == [2 * n for n in range(10)]


def test_objects_that_a_function_refers_to_may_change_between_jobs() -> None:
    """Workers keep functions, but not the state at the first call."""

    def count(pool):
        state = {"n": 0}
        results = []

        def read(owner):
            return state["n"]

        for n in range(5):
            state["n"] = n
            job = pool.submit(read)
            while job.status is not JobStatus.SUCCESS:
                time.sleep(0.001)
            results.append(job.result)
        return results

    with create_job_pool(quiet=True) as pool:
        node = Node("count", count)
        if MAIN:
            pool.schedule([node])
        pool.execute()
        assert node.jobs == ([0, 1, 2, 3, 4] if MAIN else None)


def test_dependencies_on_jobs_of_earlier_nodes() -> None:
    with create_job_pool(quiet=True) as pool:
        place = Node("place", lambda pool: [pool.submit(work, 0.01) for _ in range(10)])
        connect = Node(
            "connect", lambda pool: [pool.submit(work, deps=place.jobs) for _ in range(10)], [place]
        )
        if MAIN:
            pool.schedule([place, connect])
        results = pool.execute(return_results=True)
        if MAIN:
            last = max(results[job].end for job in place.jobs)
            assert all(results[job].start >= last for job in connect.jobs)


def test_a_node_that_fails_and_those_that_depend_on_it() -> None:
    with create_job_pool(quiet=True) as pool:
        bad = Node("bad", explode)
        child = Node("child", queue_some(3), [bad])
        grandchild = Node("grandchild", queue_some(3), [child])
        good = Node("good", queue_some(3))
        if MAIN:
            pool.schedule([bad, child, good, grandchild])
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if MAIN:
            errors = {str(error).split()[0]: error for error in caught.value.exceptions}
            assert set(errors) == {"bad", "child", "grandchild"}
            assert {type(error) for error in errors.values()} == {JobSchedulingError}
            assert isinstance(errors["bad"].__cause__, ZeroDivisionError)
            assert isinstance(errors["child"].__cause__, JobSchedulingError)
            assert {job.status for job in good.jobs} == {JobStatus.SUCCESS}
            assert child.jobs is grandchild.jobs is None
    pool_works()


def test_failing_nodes_and_failing_jobs_are_raised_together() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            pool.submit(fail)
            pool.schedule([Node("bad", explode)])
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        assert not MAIN or len(caught.value.exceptions) == 2


def test_a_scheduler_outlives_a_run_that_fails_fast() -> None:
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        endless = Node("endless", queue_some(100_000, 0.001))
        if MAIN:
            pool.schedule([endless])
            pool.submit(fail)
        began = time.monotonic()
        with pytest.raises(WorkflowError):
            pool.execute()
        assert time.monotonic() - began < 5
    pool_works()


def test_jobs_queued_by_callbacks_of_others() -> None:
    with create_job_pool(quiet=True) as pool:
        queued = []

        def more(job):
            if len(queued) < 50:
                queued.append(pool.submit(give, len(queued)))
                queued[-1].on_completion(more)

        if MAIN:
            pool.submit(give).on_completion(more)
        results = pool.execute(return_results=True)
        if MAIN:
            assert [results[job] for job in queued] == list(range(50))


def test_jobs_queued_by_a_listener() -> None:
    with create_job_pool(quiet=True) as pool:
        added = []

        def listener(progress):
            if progress.status is JobStatus.SUCCESS and len(added) < 30:
                added.append(pool.submit(give, len(added)))

        if MAIN:
            pool.add_listener(listener)
            pool.submit(give)
        results = pool.execute(return_results=True)
        if MAIN:
            assert [results[job] for job in added] == list(range(30))


def test_schedulers_of_the_caller() -> None:
    def fill(pool):
        jobs = []
        pool.schedule(range(20), lambda n: jobs.append(pool.submit(give, n)))
        while pool.scheduling:
            time.sleep(0.001)
        return jobs

    assert run(fill) in (list(range(20)), None)
