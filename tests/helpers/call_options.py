"""The options of calls, as they hold however many processes an executor has."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

import bsbpool
from bsbpool import JobCancelledError, JobStatus, JobTimeoutError
from bsbpool.futures import PoolExecutor
from helpers.executors import LONG, nap, square

CHECKS: list[Callable[[PoolExecutor], None]] = []


def check(function: Callable[[PoolExecutor], None]) -> Callable[[PoolExecutor], None]:
    """Add a check of an executor."""
    CHECKS.append(function)
    return function


def fail(*args: Any) -> None:
    raise ValueError("failed on purpose")


def attempt() -> int:
    return bsbpool.current_job().attempt


def fail_twice() -> int:
    if attempt() < 3:
        raise OSError("not yet")
    return attempt()


def draw() -> float:
    return float(bsbpool.current_job().rng.random())


def write() -> str:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return bsbpool.current_job().name


def rank() -> int:
    return bsbpool.current_job().rank


def wait_for_cancel(seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)


@bsbpool.job(name="named", retries=2)
def optioned(x: int) -> tuple[str, int, int]:
    if attempt() < 2:
        raise OSError
    return bsbpool.current_job().name, attempt(), x


@check
def failed_calls_run_again(executor: PoolExecutor) -> None:
    future = executor.options(retries=2).submit(fail_twice)
    assert future.result(LONG) == 3
    assert future.metadata.attempts == 3
    for options in ({"retries": 1}, {"retries": 5, "retry_on": ValueError}):
        with pytest.raises(OSError, match="not yet"):
            executor.options(**options).submit(fail_twice).result(LONG)


@check
def decorated_functions_have_their_options(executor: PoolExecutor) -> None:
    assert executor.submit(optioned, 4).result(LONG) == ("named", 2, 4)
    assert executor.options(name="other").submit(optioned, 4).result(LONG)[0] == "other"
    with pytest.raises(OSError):
        executor.options(retries=0).submit(optioned, 4).result(LONG)


@check
def calls_end_in_time(executor: PoolExecutor) -> None:
    started = time.monotonic()
    future = executor.options(timeout=0.1, name="slow").submit(wait_for_cancel)
    with pytest.raises(JobTimeoutError, match=r"timeout of 0\.1 s"):
        future.result(LONG)
    assert time.monotonic() - started < LONG / 2
    assert future.metadata.status is JobStatus.FAILED
    assert executor.options(timeout=LONG).submit(square, 3).result(LONG) == 9


@check
def running_calls_can_be_cancelled(executor: PoolExecutor) -> None:
    future = executor.options(name="endless").submit(wait_for_cancel)
    future = executor.options(priority=1).submit(wait_for_cancel) if future.cancel() else future
    end = time.monotonic() + LONG
    while not future.running() and time.monotonic() < end:
        time.sleep(0.001)
    assert not future.cancel() and future.cancel(running=True)
    with pytest.raises(CancelledError):
        future.result(LONG)
    assert executor.submit(square, 3).result(LONG) == 9


@check
def cancelled_calls_do_not_disturb_time_limits(executor: PoolExecutor) -> None:
    first = executor.options(timeout=LONG).submit(nap, 0.3)
    end = time.monotonic() + LONG
    while not first.running() and time.monotonic() < end:
        time.sleep(0.001)
    first.cancel(running=True)
    assert executor.options(timeout=LONG).submit(square, 3).result(LONG) == 9
    assert executor.submit(nap, 0.4).result(LONG) == 0.4


@check
def conditions_decide_which_calls_run(executor: PoolExecutor) -> None:
    good, bad = executor.submit(nap, 0.01), executor.submit(fail)
    for _ in range(2):  # before and after these have ended
        ran = [
            executor.options(after_any=[bad, good]).submit(square, 2),
            executor.options(on_failure=[good, bad]).submit(square, 2),
            executor.options(on_end=[good, bad], deps=[good]).submit(square, 2),
        ]
        unmet = [
            executor.options(after_any=[bad]).submit(square, 2),
            executor.options(on_failure=[good]).submit(square, 2),
            executor.options(on_end=[good], deps=[bad]).submit(square, 2),
        ]
        assert [future.result(LONG) for future in ran] == [4, 4, 4]
        for future in unmet:
            with pytest.raises(JobCancelledError, match="Job killed for dependency failure"):
                future.result(LONG)


@check
def chains_of_conditions_end(executor: PoolExecutor) -> None:
    last = executor.submit(fail)
    for n in range(60):
        option = ("on_failure", "on_end", "after_any")[n % 3]
        last = executor.options(**{option: [last]}).submit(square if n % 3 else abs, n)
    assert last.result(LONG) == 59**2


@check
def urgent_calls_overtake(executor: PoolExecutor) -> None:
    order: list[str] = []
    begin = executor.submit(nap, 0.05)
    more = [executor.submit(nap, 0.05) for _ in range(4 * executor.num_workers)]
    urgent = executor.options(priority=3).submit(square, 2)
    urgent.add_done_callback(lambda future: order.append("urgent"))
    more[-1].add_done_callback(lambda future: order.append("last"))
    for future in (begin, urgent, more[-1]):
        future.result(LONG)
    assert order[0] == "urgent"


@check
def random_numbers_depend_on_the_call(executor: PoolExecutor) -> None:
    view = executor.options(seed=7)
    futures = [view.submit(draw) for _ in range(4)]
    numbers = [future.result(LONG) for future in futures]
    assert len(set(numbers)) == 4
    again = executor.options(seed=7, retries=1)
    assert again.submit(draw).result(LONG) not in numbers  # another stream


@check
def output_is_captured(executor: PoolExecutor) -> None:
    future = executor.options(capture_output=True, name="writer").submit(write)
    assert future.result(LONG) == "writer"
    output = future.metadata.output
    assert output.stdout == "to stdout\n" and output.stderr == "to stderr\n"


@check
def calls_wait_for_their_checks(executor: PoolExecutor) -> None:
    def unmet() -> None:
        raise bsbpool.UnmetDependency("not here")

    future = executor.options(requires=[abs.__call__ and (lambda: None)]).submit(square, 3)
    assert future.result(LONG) == 9
    with pytest.raises(bsbpool.UnmetDependency, match="not here"):
        executor.options(requires=[unmet]).submit(square, 3).result(LONG)


@check
def futures_are_arguments_of_calls_with_options(executor: PoolExecutor) -> None:
    two = executor.options(retries=1).submit(square, 1)
    futures = [executor.options(priority=n % 3).submit(sum, [two, n]) for n in range(9)]
    total = executor.options(name="total").submit(sum, futures)
    assert total.result(LONG) == 9 + sum(range(9))


@check
def waits_for_dependencies_are_limited(executor: PoolExecutor) -> None:
    long = executor.submit(nap, 0.5)
    view = executor.options(deps=[long], dependency_timeout=0.05)
    with pytest.raises(JobCancelledError, match=r"dependency_timeout of 0\.05 s"):
        view.submit(square, 2).result(LONG)
    assert executor.options(deps=[long], dependency_timeout=LONG).submit(square, 2).result(LONG)


class Value:
    """An argument that can be weakly referenced."""


def are_freed(refs: list[weakref.ref[Any]], most: int = 2) -> bool:
    """Wait until at most a few objects are left, which the threads of an executor still have."""
    end = time.monotonic() + 5
    while sum(ref() is not None for ref in refs) > most and time.monotonic() < end:
        gc.collect()
        time.sleep(0.005)
    return sum(ref() is not None for ref in refs) <= most


@check
def ended_calls_with_conditions_are_freed(executor: PoolExecutor) -> None:
    last = executor.submit(square, 2)
    values = [Value() for _ in range(20)]
    refs = [weakref.ref(value) for value in values]
    while values:
        last = executor.options(on_end=[last]).submit(fail, values.pop())
    assert last.exception(LONG) is not None
    assert are_freed(refs)


@check
def ended_calls_with_deadlines_are_freed(executor: PoolExecutor) -> None:
    first = executor.submit(nap, 0.1)
    view = executor.options(deps=[first], dependency_timeout=600)
    values = [Value() for _ in range(20)]
    refs = [weakref.ref(value) for value in values]
    futures = []
    while values:
        futures.append(view.submit(fail, values.pop()))
    cancelled = futures[::5]
    assert all(future.cancel() for future in cancelled) or first.done()
    assert all(future.cancelled() or future.exception(LONG) for future in futures)
    del futures, cancelled
    assert are_freed(refs)


@check
def ended_calls_keep_their_names(executor: PoolExecutor) -> None:
    first = executor.submit(nap, 0.1)
    failed = executor.options(on_end=[first], name="origin").submit(fail)
    after = executor.options(deps=[failed], retries=1).submit(square, 2)
    assert failed.exception(LONG) is not None and failed.metadata.name == "origin"
    assert isinstance(after.exception(LONG), JobCancelledError)
    if executor.num_workers > 1:
        assert "'origin', which failed" in after.exception().__notes__[0]


@check
def maps_have_options(executor: PoolExecutor) -> None:
    view = executor.options(retries=2, capture_output=True)
    assert list(view.map(square, range(20))) == [x * x for x in range(20)]
    assert list(executor.options(timeout=LONG).map(square, range(9), chunksize=4))[-1] == 64
    with pytest.raises(JobTimeoutError):
        list(executor.options(timeout=0.05).map(wait_for_cancel, [0, LONG]))


@check
def items_of_maps_run_again(executor: PoolExecutor) -> None:
    results = executor.options(retries=1).map(optioned.function, range(5))
    assert [(attempt, x) for _, attempt, x in results] == [(2, x) for x in range(5)]
    with pytest.raises(ValueError, match="failed on purpose"):
        list(executor.options(retries=1).map(fail, range(5), chunksize=2))


@check
def each_worker_runs_a_call(executor: PoolExecutor) -> None:
    found = executor.run_on_all(rank)
    assert len(found) == executor.num_workers
    assert {wanted: future.result(LONG) for wanted, future in found.items()} == {
        wanted: wanted for wanted in found
    }


@check
def each_worker_has_variables(executor: PoolExecutor) -> None:
    array = np.arange(5.0)
    ready = executor.push({"factor": 3, "array": array})
    assert len(ready) == executor.num_workers
    found = executor.options(deps=ready.values()).pull("factor", "array")
    assert found.keys() == ready.keys()
    for future in found.values():
        values = future.result(LONG)
        assert values["factor"] == 3
        assert (values["array"] == array).all()
    for future in executor.pull("absent").values():
        with pytest.raises(NameError, match="'absent' was not pushed to this rank"):
            future.result(LONG)


@check
def unknown_options_are_refused(executor: PoolExecutor) -> None:
    with pytest.raises(TypeError, match=r"unexpected argument 'retry'.*retries"):
        executor.options(retry=2)
    with pytest.raises(TypeError, match="unexpected argument 'keep'"):
        executor.options(keep="worker")
    for options in ({"retries": -1}, {"timeout": "1"}, {"on_end": [3]}, {"after_any": 3}):
        with pytest.raises((TypeError, ValueError), match=next(iter(options))):
            executor.options(**options)
    with pytest.raises(ValueError, match="was not declared"):
        executor.options(resources={"gpu": 1}).submit(square, 2).result(LONG)


@check
def metadata_tell_when_and_where(executor: PoolExecutor) -> None:
    before = time.time() - 0.1
    first = executor.options(name="first", retries=1).submit(nap, 0.01)
    second = executor.options(name="second", deps=[first], retries=1).submit(nap, 0.01)
    second.result(LONG)
    early, late = first.metadata, second.metadata
    assert early.name == "first" and late.name == "second"
    assert early.status is late.status is JobStatus.SUCCESS
    plain = executor.submit(fail)
    assert plain.exception(LONG) is not None
    assert "failed on purpose" in plain.metadata.error
    if early.started is not None:
        assert before < early.started <= early.completed <= late.started


@check
def many_threads_submit_with_options(executor: PoolExecutor) -> None:
    found: list[int] = []

    def submit(n: int) -> None:
        view = executor.options(priority=n, retries=n % 2)
        found.append(sum(view.submit(square, x).result(LONG) for x in range(20)))

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert found == [sum(x * x for x in range(20))] * 4
