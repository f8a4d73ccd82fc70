"""The interval of listeners, `max_wait`, and the pings that keep it."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from bsbpool import WorkflowError, create_job_pool
from bsbpool.progress import PoolProgressReason

from .support import RecordingListener, fail, give, nothing, statuses, until


def count_pings(pool, max_wait, f, *args):
    recorder = RecordingListener()
    pool.add_listener(recorder, max_wait=max_wait)
    pool.submit(f, *args)
    pool.execute()
    return recorder.pings


def best_of(attempts, expected, attempt):
    """Return the expected outcome if any attempt has it, since other load may delay one attempt."""
    seen = []
    for _ in range(attempts):
        with create_job_pool(quiet=True) as pool:
            seen.append(attempt(pool))
        if seen[-1] == expected:
            return expected
    return seen


def sleep(owner, seconds):
    time.sleep(seconds)


class TestPings:
    def test_come_at_the_requested_interval(self):
        assert best_of(5, 3, lambda pool: count_pings(pool, 0.1, sleep, 0.35)) == 3

    def test_do_not_come_while_jobs_end_in_time(self):
        def attempt(pool):
            for _ in range(20):
                pool.submit(sleep, 0.01)
            return count_pings(pool, 0.15, nothing)

        assert best_of(5, 0, attempt) == 0

    def test_come_while_nodes_are_scheduled(self):
        def attempt(pool):
            pool.schedule([0.35], time.sleep)
            return count_pings(pool, 0.1, nothing)

        assert best_of(5, 3, attempt) == 3

    @pytest.mark.parametrize(
        ("waits", "expected"),
        [([], 60.0), ([None, 0], 60.0), ([5.0, 2.0, 9.0], 2.0), ([90.0], 90.0), ([None, 7.0], 7.0)],
    )
    def test_the_shortest_interval_of_all_listeners_is_used(self, pool, waits, expected):
        for wait in waits:
            pool.add_listener(RecordingListener(), max_wait=wait)
        assert pool.run_context.events.max_wait == expected

    def test_the_job_runs_in_the_callers_context(self, pool):
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("set")
        pool.add_listener(RecordingListener(), max_wait=10.0)
        job = pool.submit(lambda owner: variable.get())
        pool.execute()
        assert job.result == "set"

    def test_an_error_of_a_job_is_raised(self, pool):
        pool.add_listener(RecordingListener(), max_wait=10.0)
        bad, good = pool.submit(fail, "no"), pool.submit(give, 1)
        with pytest.raises(WorkflowError):
            pool.execute()
        assert str(bad.error) == "no"
        assert good.result == 1


def test_an_error_at_a_ping_ends_the_run_and_fails_no_job():
    """Once, the current job failed with this error, and the next job got its result."""
    slow, ended = threading.Event(), []

    def wait(owner):
        ended.append(slow.wait(20))

    def listener(progress):
        if progress.reason is PoolProgressReason.MAX_TIMEOUT_PING:
            raise ZeroDivisionError

    with create_job_pool(quiet=True) as pool:
        pool.add_listener(listener, max_wait=0.02)
        jobs = [pool.submit(wait), pool.submit(give, 2)]
        with pytest.raises(ZeroDivisionError):
            pool.execute()
        assert statuses(*jobs) == ["aborted", "cancelled"]
        assert ended == []
        slow.set()
    assert until(lambda: ended == [True])
