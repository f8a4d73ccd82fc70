"""A display works in a thread of its own: it does not delay jobs, and does not call MPI."""

from __future__ import annotations

import io
import re
import threading

import pytest

from bsbpool import WorkflowError, create_job_pool, services
from bsbpool.futures import PoolExecutor
from bsbpool.listeners import LogListener
from bsbpool.listeners.counting import MOST_FAILURES
from bsbpool.listeners.refresher import Refresher

from .on_ranks import on_ranks
from .support import fail, until


class SlowTerminal(LogListener):
    """Shows no failure before `go` is set."""

    def __init__(self, seconds=60.0):
        self.go = threading.Event()
        self.shown, self.threads = [], set()
        super().__init__(io.StringIO(), seconds=seconds)

    def show_failure(self, lines):
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(30)
        self.shown.append(lines[0])


def test_failures_do_not_wait_for_a_slow_terminal(pool):
    listener = SlowTerminal()
    pool.add_listener(listener)
    pool.queue_many(fail, [(f"error {n}",) for n in range(MOST_FAILURES + 5)])
    waits = pool.submit(lambda owner: listener.shown == [] and listener.go.set())
    with pytest.raises(WorkflowError):
        pool.execute()
    assert waits.status.name == "SUCCESS"
    assert listener.shown == [
        f"job {n} 'fail('error {n}')' failed: ValueError: error {n}" for n in range(MOST_FAILURES)
    ]
    assert listener.n_further_failures == 5
    assert "bsbpool: 5 further failures not shown\n" in listener._file.getvalue()


def test_failures_are_shown_while_jobs_run(pool):
    """Also if the next line with counts is due much later."""
    listener = SlowTerminal()
    listener.go.set()
    pool.add_listener(listener)
    pool.submit(fail)
    seen = pool.submit(lambda owner: until(lambda: listener.shown, 20))
    with pytest.raises(WorkflowError):
        pool.execute()
    assert seen.result is True
    assert listener.threads == {"bsbpool-progress"}


def test_failures_of_calls_are_shown_at_the_end():
    listener = SlowTerminal()
    with PoolExecutor(progress=listener) as executor:
        assert isinstance(executor.submit(int, "x").exception(), ValueError)
        listener.go.set()
    assert len(listener.shown) == 1


def test_a_refresher_calls_both_functions():
    regular, urgent = [], []
    refresher = Refresher(lambda: regular.append(1), 0.001, lambda: urgent.append(1))
    refresher.start()
    assert until(lambda: len(regular) > 3)
    assert not urgent
    refresher.wake()
    assert until(lambda: urgent)
    refresher.stop()
    n = len(regular)
    refresher.start()
    assert until(lambda: len(regular) > n)
    refresher.stop()


def test_an_urgent_function_does_not_wait_for_the_interval():
    urgent = threading.Event()
    refresher = Refresher(lambda: None, 1000.0, urgent.set)
    refresher.start()
    refresher.wake()
    assert urgent.wait(20)
    refresher.stop()


# ------------------------------------------------------------------ MPI


class Watching:
    """A communicator that notes which threads ask for its size."""

    def __init__(self, comm):
        self._comm = comm
        self.threads = set()

    def get_size(self):
        self.threads.add(threading.current_thread().name)
        return self._comm.get_size()

    def __getattr__(self, name):
        return getattr(self._comm, name)


@on_ranks(3)
def test_the_thread_of_a_display_does_not_ask_mpi():
    listener = LogListener(io.StringIO(), seconds=0.001)
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(listener)
        watching = pool.run_context.comm = Watching(pool.run_context.comm)
        if pool.is_main():
            pool.queue_many(lambda owner, n: sum(range(n)), [(200_000,)] * 60)
        pool.execute()
    if services.MPI.get_rank() == 0:
        assert "bsbpool-progress" not in watching.threads
        text = listener._file.getvalue()
        assert re.search(r"60/60 jobs succeeded in .*; 2 workers busy \d+% of the time", text)


@on_ranks(3)
def test_the_display_of_an_executor_shows_the_load():
    listener = LogListener(io.StringIO(), seconds=0.001)
    with PoolExecutor(progress=listener) as executor:
        if executor is not None:
            assert len(list(executor.map(sum, [range(200_000)] * 60, chunksize=1))) == 60
    if services.MPI.get_rank() == 0:
        text = listener._file.getvalue()
        assert re.search(r"60/60 jobs succeeded in .*; 2 workers busy \d+% of the time", text)
