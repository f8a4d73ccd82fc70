"""What holds for the maps of an executor however many processes it has; see `helpers.executors`."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from bsbpool import JobCancelledError
from bsbpool.exceptions import WorkerTraceback
from bsbpool.futures import PoolExecutor
from helpers.executors import CHECKS, LONG, check, lock_or, nap, picky, square

__all__ = ["CHECKS"]
CHUNKSIZES = (None, 1, 3, 40)

# What is called


def stop_at_three(x: int) -> int:
    if x == 3:
        raise StopIteration
    return x


def count_up(x: Any) -> float:
    x[0] += 1
    return float(x[0])


SMALL, LARGE = np.zeros(3), np.zeros(10_000)


def in_a_small_buffer(x: int) -> Any:
    SMALL[:] = x
    return SMALL


def in_a_large_buffer(x: int) -> Any:
    LARGE[:] = x
    return LARGE


class Unreadable:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return int, ("x",)


def unreadable_or(x: int) -> Any:
    return Unreadable() if x == 3 else x


def until(n: int) -> Iterator[int]:
    yield from range(n)
    raise KeyError(n)


# Maps


@check
def maps_keep_the_order(executor: PoolExecutor) -> None:
    expected = [square(n) for n in range(3_000)]
    assert list(executor.map(square, range(3_000))) == expected
    for options in ({"chunksize": 7}, {"buffersize": 50}, {"buffersize": 3, "chunksize": 2}):
        assert list(executor.map(square, range(3_000), **options)) == expected
    assert sorted(executor.map(square, range(3_000), unordered=True)) == expected
    assert list(executor.map(pow, [2, 3, 4], [5, 2])) == [32, 9]
    assert list(executor.starmap(pow, iter([(2, 5), (3, 2)]))) == [32, 9]
    assert list(executor.map(square, [])) == []


@check
def items_before_an_error_come_first(executor: PoolExecutor) -> None:
    for chunksize in (None, 1, 5, 100):
        got = []
        with pytest.raises(KeyError) as caught:
            got.extend(iter_into(got, executor.map(picky, range(100), chunksize=chunksize)))
        assert got == list(range(7))
        assert isinstance(caught.value.__cause__, WorkerTraceback)
    got = []
    with pytest.raises(TypeError):
        iter_into(got, executor.map(square, [1, 2, threading.Lock(), 4], chunksize=4))
    assert got == [1, 4]
    got = []
    with pytest.raises(TypeError):
        iter_into(got, executor.map(lock_or, range(8), chunksize=8))
    assert got == [0, 1, 2, 3, 4]


def iter_into(got: list[Any], results: Iterator[Any]) -> list[Any]:
    for result in results:
        got.append(result)
    return []


@check
def a_buffer_bounds_what_is_read(executor: PoolExecutor) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    results = executor.map(square, numbers(), buffersize=6)
    for taken in range(1, 40):
        assert next(results) == taken * taken
        assert taken <= read <= taken + 6
    results.close()


@check
def items_may_need_earlier_results(executor: PoolExecutor) -> None:
    results: list[int] = []

    def numbers() -> Iterator[int]:
        yield 2
        for n in range(5):
            yield executor.submit(square, n).result(LONG)

    results.extend(executor.map(square, numbers(), buffersize=2))
    assert results == [4, *(n**4 for n in range(5))]


@check
def an_abandoned_map_is_cancelled(executor: PoolExecutor) -> None:
    began = time.monotonic()
    results = executor.map(nap, [0.01] * 10_000, chunksize=1)
    next(results)
    results.close()
    executor.map(nap, [0.01] * 10_000, chunksize=1)  # never begun
    assert executor.submit(square, 2).result(LONG) == 4
    assert time.monotonic() - began < 20


@check
def leaving_does_not_wait_for_who_reads_a_map(executor: PoolExecutor) -> None:
    items = iter(range(100_000))
    results = executor.map(square, items, buffersize=5)
    assert next(results) == 0
    executor.shutdown()
    assert next(items) < 10  # nothing was read for it
    got: list[int] = []
    with pytest.raises(RuntimeError, match="after shutdown"):
        iter_into(got, results)
    assert got == [n * n for n in range(1, len(got) + 1)]  # what had been sent


@check
def maps_time_out(executor: PoolExecutor) -> None:
    for unordered in (False, True):
        results = executor.map(nap, [0, 1.5], timeout=0.5, chunksize=1, unordered=unordered)
        assert next(results) == 0
        with pytest.raises(TimeoutError):
            next(results)
        assert executor.submit(square, 2).result(LONG) == 4  # a worker is free again


@check
def bad_numbers_are_refused(executor: PoolExecutor) -> None:
    for name in ("chunksize", "buffersize"):
        with pytest.raises(ValueError, match=name):
            executor.map(square, [1], **{name: 0})
        with pytest.raises(TypeError, match=name):
            executor.map(square, [1], **{name: True})


# Chunks are not seen


@check
def a_stop_iteration_is_an_error(executor: PoolExecutor) -> None:
    for options in ({}, {"chunksize": 6}, {"unordered": True, "chunksize": 6}):
        got: list[int] = []
        with pytest.raises(RuntimeError, match="StopIteration"):
            iter_into(got, executor.map(stop_at_three, range(6), **options))
        assert got == [0, 1, 2]
    got = []
    with pytest.raises(RuntimeError, match="StopIteration"):
        iter_into(got, executor.starmap(stop_at_three, zip(range(6)), chunksize=6))
    assert got == [0, 1, 2]


@check
def functions_are_told_apart_by_their_arrays(executor: PoolExecutor) -> None:
    for n in range(3):
        default = np.full(10_000, n)
        assert [*executor.map(lambda x, a=default: int(a[x]), range(5))] == [n] * 5


@check
def items_are_not_shared(executor: PoolExecutor) -> None:
    for item in ([0], np.zeros(2), np.zeros(10_000)):
        for chunksize in CHUNKSIZES:
            assert [*executor.map(count_up, [item] * 40, chunksize=chunksize)] == [1.0] * 40
            stars = [*executor.starmap(count_up, [(item,)] * 40, chunksize=chunksize)]
            assert stars == [1.0] * 40
        assert item[0] == 0


@check
def results_are_not_shared(executor: PoolExecutor) -> None:
    for f in (in_a_small_buffer, in_a_large_buffer):
        for chunksize in CHUNKSIZES:
            results = list(executor.map(f, range(40), chunksize=chunksize))
            assert [result[-1] for result in results] == [*range(40)]
            results[0][:] = -1
            assert results[1][0] == 1


# Errors


@check
def what_precedes_an_unreadable_result_comes_first(executor: PoolExecutor) -> None:
    got: list[int] = []
    with pytest.raises(ValueError, match="invalid literal"):
        iter_into(got, executor.map(unreadable_or, range(6), chunksize=6))
    assert got == [0, 1, 2]


@check
def what_precedes_an_error_of_the_input_comes_first(executor: PoolExecutor) -> None:
    for buffersize in (1, 4, 100):
        for unordered in (False, True):
            results = executor.map(square, until(10), buffersize=buffersize, unordered=unordered)
            got: list[int] = []
            with pytest.raises(KeyError):
                iter_into(got, results)
            assert sorted(got) == [n * n for n in range(10)]


# Options


@check
def options_hold_for_maps(executor: PoolExecutor) -> None:
    first = executor.submit(nap, 0.2)
    view = executor.options(deps=[first], name="mapped")
    results = [view.map(square, range(3)), view.starmap(pow, [(2, 3)], buffersize=1)]
    assert next(results[1]) == 8
    assert first.done()
    assert [*results[0]] == [0, 1, 4]
    bad = executor.submit(picky, 7)
    with pytest.raises(JobCancelledError):
        next(executor.options(deps=[bad]).map(square, range(3)))
    assert [*executor.options(cache_items=[3]).map(square, range(3))] == [0, 1, 4]


# Ends


@check
def who_reads_is_told_what_was_cancelled(executor: PoolExecutor) -> None:
    lazy = executor.map(square, itertools.count(), buffersize=10)
    unordered = executor.map(square, itertools.count(), buffersize=10, unordered=True)
    begun = [next(lazy), next(unordered)]
    time.sleep(0.3)  # what is on its way arrives, so that only what was not read is cut off
    eager = executor.map(nap, [0.01] * 1_000, chunksize=1)
    begun.append(next(eager))
    executor.shutdown(cancel_futures=True)
    for results, first in zip((lazy, unordered, eager), begun, strict=True):
        got = [first]
        with pytest.raises(CancelledError):
            iter_into(got, results)
        if results is lazy:
            assert got == [n * n for n in range(len(got))]


@check
def cancelling_does_not_wait_for_input(executor: PoolExecutor) -> None:
    waits, go_on = threading.Event(), threading.Event()
    ends: list[Any] = []

    def numbers() -> Iterator[int]:
        yield from (1, 2)
        waits.set()
        go_on.wait(LONG)
        yield 3

    def read() -> None:
        try:
            iter_into(ends, executor.map(square, numbers(), buffersize=1))
        except BaseException as error:
            ends.append(type(error))

    reader = threading.Thread(target=read)
    reader.start()
    assert waits.wait(LONG)
    began = time.monotonic()
    executor.shutdown(wait=False, cancel_futures=True)
    assert time.monotonic() - began < LONG / 2
    go_on.set()
    reader.join(LONG)
    assert ends[-1] is CancelledError
    assert ends[:-1] == [1, 4][: len(ends) - 1]


@check
def dropping_a_map_waits_for_no_lock(executor: PoolExecutor) -> None:
    """Garbage is collected in any thread, whatever locks that and others hold."""
    begun = executor.map(nap, [0.001] * 1_000, chunksize=1)
    next(begun)
    dropped = [begun, executor.map(square, range(1_000), buffersize=2)]
    del begun
    locked, unlock = threading.Event(), threading.Event()

    def hold() -> None:
        with executor._backend.lock:
            locked.set()
            unlock.wait(LONG)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(LONG)
    dropper = threading.Thread(target=dropped.clear)
    dropper.start()
    dropper.join(LONG / 2)
    assert not dropper.is_alive()
    unlock.set()
    holder.join(LONG)
    assert executor.submit(square, 2).result(LONG) == 4
