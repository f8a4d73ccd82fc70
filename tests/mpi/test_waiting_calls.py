"""Calls of an executor that wait for its next pool, since the current one reached its limit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bsbpool import JobCancelledError
from bsbpool.futures import PoolExecutor, backend_ranks
from helpers.executors import LONG, fail_with, nap, square

from .support import pool_works

pytestmark = pytest.mark.mpi(min_size=2)


@contextmanager
def full_pool(executor: PoolExecutor, seconds: float) -> Iterator[None]:
    """Make further calls wait while a call runs."""
    running = executor.submit(nap, seconds)
    while not running.running():
        time.sleep(0.001)
    for n in range(backend_ranks.JOBS_PER_POOL):
        executor.submit(square, n)
    assert executor._backend._draining
    yield
    assert running.result(LONG) == seconds


def outcome(future: Any) -> Any:
    error = future.exception(LONG)
    return future.result() if error is None else type(error)


def test_a_failed_dependency_cancels_calls_that_wait_for_the_next_pool(monkeypatch) -> None:
    monkeypatch.setattr(backend_ranks, "JOBS_PER_POOL", 5)
    monkeypatch.setattr(backend_ranks, "SECONDS_OF_DRAINING", LONG)
    with PoolExecutor() as executor:
        if executor is not None:
            failed = executor.submit(fail_with, KeyError)
            assert isinstance(failed.exception(LONG), KeyError)
            with full_pool(executor, 0.3):
                after = executor.options(deps=[failed]).submit(square, 1)
                after_that = executor.options(deps=[after]).submit(square, 2)
                alone = executor.submit(square, 3)
                after_both = executor.options(deps=[alone, after_that]).submit(square, 4)
                taken_back = executor.submit(square, 5)
                after_taken_back = executor.options(deps=[taken_back]).submit(square, 6)
                assert taken_back.cancel()
            kinds = [outcome(f) for f in (after, after_that, alone, after_both, after_taken_back)]
            lost = JobCancelledError
            assert kinds == [lost, lost, 9, lost, lost]
            assert executor.submit(square, 7).result(LONG) == 49
    pool_works()


def steps_of(f: Callable[[], Any]) -> int:
    """Return the number of Python instructions that a call executes."""
    steps = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        f()
    finally:
        sys.settrace(before)
    return steps


def test_the_time_to_cancel_a_call_does_not_depend_on_how_many_wait(monkeypatch) -> None:
    monkeypatch.setattr(backend_ranks, "JOBS_PER_POOL", 5)
    monkeypatch.setattr(backend_ranks, "SECONDS_OF_DRAINING", LONG)
    with PoolExecutor() as executor:
        if executor is not None:
            with full_pool(executor, 0.5):
                few = [executor.submit(square, n) for n in range(3)]
                assert few[0].cancel()
                with_few = steps_of(few[1].cancel)
                many = [executor.submit(square, n) for n in range(1000)]
                with_many = steps_of(many[500].cancel)
                assert with_few == with_many
            assert few[1].cancelled() and many[500].cancelled()
            assert many[501].result(LONG) == 501 * 501
    pool_works()
