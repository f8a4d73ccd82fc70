"""`schedule`: nodes queue their jobs in threads."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from bsbpool import JobSchedulingError, WorkflowError, create_job_pool

from .support import Node, RecordingListener, fail, give, nothing, statuses, until


def queueing(*values):
    """Make a node that queues a job for each value."""
    return Node(f"queues {values}", lambda pool: [pool.queue(give, (value,)) for value in values])


def failing(name="bad", depends_on=()):
    def queue(pool):
        raise ValueError(name)

    return Node(name, queue, depends_on)


def scheduling_errors(pool):
    with pytest.raises(WorkflowError) as raised:
        pool.execute()
    return list(raised.value.exceptions)


class TestNodes:
    def test_queue_their_jobs(self, pool):
        pool.schedule([queueing(1, 2), queueing(3)])
        assert list(pool.execute(return_results=True).values()) == [1, 2, 3]

    def test_are_scheduled_in_the_given_order(self, pool):
        order = []
        pool.schedule((n for n in range(100)), order.append)
        pool.execute()
        assert order == list(range(100))

    def test_may_be_any_objects_with_a_scheduler(self, pool):
        pool.schedule([1, 2], lambda n: pool.submit(give, n))
        assert list(pool.execute(return_results=True).values()) == [1, 2]

    def test_can_depend_on_the_jobs_of_others(self, pool):
        first = Node("first", lambda pool: pool.queue(give, (1,), submitter=first))
        second = Node(
            "second",
            lambda pool: pool.queue(give, (2,), deps=pool.get_submissions_of(first)),
            depends_on=[first],
        )
        pool.schedule([first, second])
        pool.execute()
        assert statuses(*pool.jobs) == ["success", "success"]

    def test_may_be_an_empty_list(self, pool):
        pool.schedule([])
        pool.execute()


class TestThreads:
    def test_schedule_returns_at_once(self, pool):
        gate = threading.Event()
        pool.schedule([Node("slow", lambda pool: gate.wait(10))])
        assert pool.scheduling
        gate.set()
        pool.execute()
        assert not pool.scheduling

    def test_several_schedules_run_side_by_side(self, pool):
        together = threading.Barrier(3)
        for n in range(3):
            pool.schedule([n], lambda n: (together.wait(10), pool.submit(give, n)))
        results = pool.execute(return_results=True)
        assert sorted(results.values()) == [0, 1, 2]

    def test_context_variables_are_copied_to_the_scheduler_only(self, pool):
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("of the caller")
        seen = []

        def scheduler(node):
            seen.append(variable.get())
            variable.set("of the node")

        pool.schedule([1, 2], scheduler)
        variable.set("later")
        pool.execute()
        assert seen == ["of the caller", "of the node"]
        assert variable.get() == "later"

    def test_jobs_from_many_threads_are_all_queued_once(self, pool):
        recorder = RecordingListener()
        pool.add_listener(recorder)
        for thread in range(8):
            pool.schedule(range(100), lambda n, thread=thread: pool.submit(give, (thread, n)))
        results = pool.execute(return_results=True)
        assert sorted(results.values()) == [(t, n) for t in range(8) for n in range(100)]
        assert len(recorder.added) == len(set(recorder.added)) == 800

    def test_a_job_can_schedule_nodes(self, pool):
        def late(pool):
            time.sleep(0.1)
            pool.submit(give, "late")

        first = pool.submit(lambda owner: pool.schedule([Node("late", late)]))
        pool.execute()
        assert statuses(first, *pool.jobs[1:]) == ["success", "success"]
        assert pool.jobs[-1].result == "late"

    def test_nodes_that_schedule_nodes(self, pool):
        pool.schedule([Node("outer", lambda pool: pool.schedule([queueing(1), queueing(2)]))])
        assert list(pool.execute(return_results=True).values()) == [1, 2]


class TestFailures:
    def test_are_raised_at_the_end_of_execute(self, pool):
        pool.schedule([failing("bad"), queueing(1)])
        (error,) = scheduling_errors(pool)
        assert isinstance(error, JobSchedulingError)
        assert str(error) == "bad failed to schedule its jobs."
        assert isinstance(error.__cause__, ValueError)
        assert pool.jobs[0].result == 1

    def test_of_an_object_without_a_node_name(self, pool):
        pool.schedule(["plain"], fail)
        (error,) = scheduling_errors(pool)
        assert str(error) == "plain failed to schedule its jobs."

    def test_also_fail_the_dependent_nodes(self, pool):
        bad = failing("bad")
        child = Node("child", lambda pool: pool.submit(nothing), depends_on=[bad])
        grandchild = Node("grandchild", lambda pool: pool.submit(nothing), depends_on=[child])
        pool.schedule([bad, child, grandchild, queueing(1)])
        errors = scheduling_errors(pool)
        assert [str(error).split()[0] for error in errors] == ["bad", "child", "grandchild"]
        assert isinstance(errors[1].__cause__, JobSchedulingError)
        assert str(errors[1].__cause__) == "Depends on [<bad>], whom failed."
        assert len(pool.jobs) == 1

    def test_of_nodes_and_of_jobs_are_raised_together(self, pool):
        pool.schedule([failing(), Node("good", lambda pool: pool.submit(fail))])
        kinds = sorted(type(error).__name__ for error in scheduling_errors(pool))
        assert kinds == ["JobErroredError", "JobSchedulingError"]

    def test_of_nodes_that_compare_equal_are_distinguished(self, pool):
        class Same(Node):
            def __eq__(self, other):
                return True

            __hash__ = None

        bad = Same("bad", failing().queue)
        pool.schedule([bad, Same("good", lambda pool: pool.submit(give, 1))])
        assert len(scheduling_errors(pool)) == 1
        assert [job.result for job in pool.jobs] == [1]

    def test_do_not_remove_jobs_that_were_queued_before(self, pool):
        def half(pool):
            pool.submit(give, "queued")
            raise ValueError

        pool.schedule([Node("half", half)])
        assert len(scheduling_errors(pool)) == 1
        assert pool.jobs[0].result == "queued"


class TestAbort:
    def scheduler_threads(self):
        return [thread for thread in threading.enumerate() if "schedul" in thread.name]

    def abort(self, pool, slow_node):
        def listener(record):
            if pool.jobs:
                raise InterruptedError

        pool.add_listener(listener, max_wait=0.02)
        pool.schedule(range(10_000), slow_node)
        start = time.monotonic()
        with pytest.raises(InterruptedError):
            pool.execute()
        return time.monotonic() - start

    def test_does_not_wait_for_the_schedulers(self, pool):
        gate = threading.Event()

        def slow(node):
            pool.submit(nothing)
            gate.wait(10)

        try:
            assert self.abort(pool, slow) < 5
        finally:
            gate.set()

    def test_stops_them_at_the_next_node(self, pool):
        started = []

        def slow(node):
            started.append(node)
            pool.submit(nothing)
            time.sleep(0.02)

        self.abort(pool, slow)
        assert until(lambda: not self.scheduler_threads())
        assert len(started) < 5_000

    def test_stops_them_at_the_next_job(self):
        queued = []

        def endless(node):
            while True:
                queued.append(pool.submit(nothing))
                time.sleep(0.005)

        with create_job_pool(quiet=True) as pool:
            self.abort(pool, endless)
            assert until(lambda: not self.scheduler_threads())
            assert len(pool.jobs) == len(queued)
        assert not pool.run_context.events.failures

    def test_leaving_the_pool_stops_them(self):
        def endless(node):
            while True:
                pool.submit(nothing)
                time.sleep(0.005)

        with create_job_pool(quiet=True) as pool:
            pool.schedule([1], endless)
        assert until(lambda: not self.scheduler_threads())
