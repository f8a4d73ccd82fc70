"""What holds for an executor however many processes it has: checks, to be called with one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bsbpool import JobCancelledError
from bsbpool.exceptions import RemoteError, WorkerTraceback
from bsbpool.futures import PoolExecutor, as_completed, wait

LONG = 30.0
Check = Callable[[PoolExecutor], None]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Have it called by the tests."""
    CHECKS.append(function)
    return function


# What is called


def square(x: int) -> int:
    return x * x


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def picky(x: int) -> int:
    if x == 7:
        raise KeyError(x)
    return x


def given(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


class TwoPartsError(Exception):
    """Cannot be made from its args alone."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)
        self.two = two


class UnreadableError(Exception):
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    raise RuntimeError("cannot be unpickled")


def _unmade() -> type[BaseException]:
    """Return a kind of error that neither pickles nor has a plain way to be made again."""

    class UnmadeError(Exception):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    return UnmadeError


class Troublesome:
    """Raises when it is pickled, or unpickled, what is no Exception."""

    def __init__(self, how: str, kind: type[BaseException]) -> None:
        self.how, self.kind = how, kind

    def __reduce__(self) -> Any:
        if self.how == "pickled":
            raise self.kind
        return fail_with, (self.kind,)


class TroublesomeError(Troublesome, Exception):
    """Does so as an error."""


def fail_with(kind: type[BaseException], *args: Any) -> None:
    raise kind(*args)


def lock() -> Any:
    return threading.Lock()


def lock_or(x: int) -> Any:
    return threading.Lock() if x == 5 else x


def first_to_five(array: Any) -> Any:
    array[0] = 5
    return array


class Thing:
    """Something with state."""

    def __init__(self, n: int) -> None:
        self.n = n

    def add(self, m: int) -> Thing:
        return Thing(self.n + m)


# Submitting


@check
def calls_get_their_arguments(executor: PoolExecutor) -> None:
    assert executor.submit(pow, 2, 8).result(LONG) == 256
    future = executor.submit(given, 1, deps=2, fn=3, self=4, timeout=5)
    assert future.result(LONG) == ((1,), {"deps": 2, "fn": 3, "self": 4, "timeout": 5})
    assert isinstance(future, concurrent.futures.Future)


@check
def lambdas_methods_and_objects_travel(executor: PoolExecutor) -> None:
    k = 3
    assert executor.submit(lambda x: x + k, 4).result(LONG) == 7
    thing = executor.submit(Thing(1).add, 2).result(LONG)
    assert type(thing) is Thing and thing.n == 3


@check
def arguments_and_results_are_copies(executor: PoolExecutor) -> None:
    mine = [1, 2]
    got = executor.submit(given, mine).result(LONG)[0][0]
    assert got == mine and got is not mine


@check
def arrays_can_be_written_to(executor: PoolExecutor) -> None:
    for n in (4, 100_000):
        array = executor.submit(first_to_five, np.zeros(n)).result(LONG)
        array[1] = 1
        assert list(array[:3]) == [5, 1, 0]
        (mapped,) = executor.map(first_to_five, [np.zeros(n)])
        mapped[1] = 1
        assert list(mapped[:3]) == [5, 1, 0]


@check
def errors_come_back(executor: PoolExecutor) -> None:
    error = executor.submit(fail_with, TwoPartsError, 1, 2).exception(LONG)
    assert type(error) is TwoPartsError and error.two == 2
    assert isinstance(error.__cause__, WorkerTraceback) and "fail_with" in str(error.__cause__)
    assert type(executor.submit(fail_with, UnreadableError).exception(LONG)) is UnreadableError
    assert type(executor.submit(fail_with, _unmade()).exception(LONG)) is RemoteError


@check
def workers_outlive_what_calls_do(executor: PoolExecutor) -> None:
    assert type(executor.submit(sys.exit, 3).exception(LONG)) is SystemExit
    assert type(executor.submit(fail_with, KeyboardInterrupt).exception(LONG)) is KeyboardInterrupt
    assert isinstance(executor.submit(lock).exception(LONG), TypeError)
    assert [*executor.map(square, range(20))] == [x * x for x in range(20)]


@check
def workers_outlive_what_pickling_does(executor: PoolExecutor) -> None:
    for how in ("pickled", "unpickled"):
        for kind in (KeyboardInterrupt, SystemExit):
            sent = executor.submit(given, Troublesome(how, kind)).exception(LONG)
            returned = executor.submit(Troublesome, how, kind).exception(LONG)
            assert type(sent) is type(returned) is kind
            raised = executor.submit(fail_with, TroublesomeError, how, kind).exception(LONG)
            assert type(raised).__name__ in ("TroublesomeError", "RemoteError")
            results = executor.map(Troublesome, [how], [kind])
            with pytest.raises(kind):
                next(results)
            assert executor.submit(square, 3).result(LONG) == 9


@check
def what_cannot_be_pickled_is_told_by_the_future(executor: PoolExecutor) -> None:
    assert isinstance(executor.submit(square, threading.Lock()).exception(LONG), TypeError)
    assert isinstance(executor.submit(threading.Lock().acquire).exception(LONG), TypeError)
    results = executor.map(threading.Lock().__eq__, [1, 2])
    with pytest.raises(TypeError):
        next(results)


@check
def dependents_name_the_call_that_failed_or_could_not_be_read(executor: PoolExecutor) -> None:
    for bad in (
        executor.submit(fail_with, KeyError, "because"),
        executor.submit(Troublesome, "unpickled", KeyError),
        executor.submit(square, Troublesome("pickled", KeyError)),
    ):
        after = executor.options(deps=[bad]).submit(square, 2)
        last = executor.options(deps=[after]).submit(square, 3)
        for future in (after, last):
            error = future.exception(LONG)
            assert type(error) is JobCancelledError
            assert type(bad.exception()) is KeyError
            assert error.__cause__ is bad.exception()
            assert "which failed" in error.__notes__[0]


@check
def callbacks_may_submit(executor: PoolExecutor) -> None:
    later: list[Any] = []
    ready = threading.Event()

    def more(future: Any) -> None:
        later.append(executor.submit(square, future.result()))
        ready.set()

    executor.submit(square, 3).add_done_callback(more)
    assert ready.wait(LONG)
    assert later[0].result(LONG) == 81


@check
def a_callback_that_raises_harms_nobody(executor: PoolExecutor) -> None:
    executor.submit(square, 1).add_done_callback(lambda future: sys.exit(1))
    assert executor.submit(square, 2).result(LONG) == 4


@check
def any_thread_may_submit(executor: PoolExecutor) -> None:
    found: list[int] = []

    def submit() -> None:
        futures = [executor.submit(square, n) for n in range(200)]
        found.append(sum(future.result(LONG) for future in futures))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert found == [sum(n * n for n in range(200))] * 4


# Waiting and cancelling


@check
def wait_and_as_completed_work(executor: PoolExecutor) -> None:
    futures = [executor.submit(square, n) for n in range(50)]
    assert wait(futures, LONG).not_done == set()
    futures = [executor.submit(nap, 0.001 * n) for n in range(5)]
    assert {future.result() for future in as_completed(futures, LONG)} == {
        0.001 * n for n in range(5)
    }


@check
def asyncio_can_await(executor: PoolExecutor) -> None:
    async def work() -> list[int]:
        loop = asyncio.get_running_loop()
        one = loop.run_in_executor(executor, square, 3)
        two = asyncio.wrap_future(executor.submit(square, 4))
        return await asyncio.wait_for(asyncio.gather(one, two), LONG)

    assert asyncio.run(work()) == [9, 16]


@check
def what_was_cancelled_does_not_run(executor: PoolExecutor) -> None:
    block = [executor.submit(nap, 0.3) for _ in range(executor.num_workers)]
    futures = [executor.submit(nap, 60) for _ in range(10)]
    reported: list[Any] = []
    futures[0].add_done_callback(reported.append)
    deadline = time.monotonic() + LONG
    while not block[0].running() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not block[0].cancel()
    assert all(future.cancel() for future in futures)
    assert all(future.cancel() and future.cancelled() for future in futures)
    assert reported == [futures[0]]
    assert wait([*block, *futures], LONG).not_done == set()
    with pytest.raises(concurrent.futures.CancelledError):
        futures[0].result()


@check
def callbacks_cannot_wait_for_calls(executor: PoolExecutor) -> None:
    errors: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def wait_for_another(_: Any) -> None:
        other = executor.submit(square, 2)
        for ask in (other.result, other.exception):
            try:
                ask()
            except RuntimeError as error:
                errors.put(error)
        other.add_done_callback(lambda done: errors.put(done.exception()))

    executor.submit(nap, 0.1).add_done_callback(wait_for_another)
    for _ in range(2):
        assert "add_done_callback" in str(errors.get(timeout=LONG))
    assert errors.get(timeout=LONG) is None


# Options


@check
def dependencies_come_first(executor: PoolExecutor) -> None:
    first = executor.submit(nap, 0.05)
    view = executor.options(deps=[first], name="second")
    assert view.submit(square, 3).result(LONG) == 9
    assert first.done()
    assert view.submit(square, 4).result(LONG) == 16  # it has ended before
    bad = executor.submit(picky, 7)
    after = executor.options(deps=[bad])
    assert isinstance(after.submit(square, 3).exception(LONG), JobCancelledError)
    assert isinstance(after.submit(square, 3).exception(LONG), JobCancelledError)
    with pytest.raises(TypeError, match="deps"):
        executor.options(deps=[3])
    with pytest.raises(TypeError, match="what"):
        executor.options(what=3)
    for items in (3, ["a"]):
        with pytest.raises(TypeError, match="cache_items"):
            executor.options(cache_items=items)


@check
def it_says_how_many_workers_it_has(executor: PoolExecutor) -> None:
    assert executor.num_workers == executor._max_workers >= 1
    assert executor.bootup() is executor
    assert len({*executor.map(_pid, range(20))}) <= executor.num_workers


def _pid(n: int) -> int:
    return os.getpid()


@check
def entering_again_inside_is_refused(executor: PoolExecutor) -> None:
    with pytest.raises(RuntimeError, match="entered"):
        executor.__enter__()
    assert executor.submit(square, 3).result(LONG) == 9


@check
def shutting_down_waits_for_all(executor: PoolExecutor) -> None:
    futures = [executor.submit(nap, 0.01) for _ in range(20)]
    results = executor.map(square, range(5_000))
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert list(results) == [n * n for n in range(5_000)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 3)


@check
def shutting_down_may_cancel(executor: PoolExecutor) -> None:
    futures = [executor.submit(nap, 0.05) for _ in range(200)]
    executor.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    assert sum(future.cancelled() for future in futures) > 100
    assert {future.result() for future in futures if not future.cancelled()} == {0.05}
