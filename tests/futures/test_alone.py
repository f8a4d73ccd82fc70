"""Executors in a single process."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbpool.futures import BrokenExecutor, InitializerError, PoolExecutor
from helpers.executor_maps import CHECKS
from helpers.executors import LONG, square

STATE = []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks_in_a_with_block(check) -> None:
    with PoolExecutor() as executor:
        assert executor is not None
        check(executor)


WITHIN = [check for check in CHECKS if "entering" not in check.__name__]


@pytest.mark.parametrize("check", WITHIN, ids=lambda check: check.__name__)
def test_checks_without_a_with_block(check) -> None:
    executor = PoolExecutor()
    check(executor)
    executor.shutdown()


def test_calls_run_in_a_separate_thread() -> None:
    with PoolExecutor() as executor:
        assert executor.num_workers == 1
        names = executor.map(lambda n: threading.current_thread().name, range(3))
        assert set(names) == {"bsbpool-executor"}
        future = executor.submit(time.sleep, 0.2)
        assert not future.done()


def test_an_executor_can_be_entered_many_times() -> None:
    executor = PoolExecutor(initializer=STATE.append, initargs=(1,))
    for n in range(5):
        with executor as entered:
            assert entered is executor
            assert executor.submit(square, n).result(LONG) == n * n
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 3)


def remember(value: int) -> None:
    STATE.append(value)


def test_the_initializer_runs_once_for_each_block() -> None:
    STATE.clear()
    executor = PoolExecutor(initializer=remember, initargs=(5,))
    for n in range(1, 3):
        with executor:
            for _ in range(3):
                assert executor.submit(len, STATE).result(LONG) <= n
            assert [5] * n == STATE


def test_an_initializer_that_raises_breaks_the_executor() -> None:
    with PoolExecutor(initializer=square, initargs=("x",)) as executor:
        with pytest.raises(BrokenExecutor) as caught:  # raised by `submit` or by `result`
            executor.submit(square, 3).result(LONG)
        assert isinstance(caught.value, InitializerError)
        with pytest.raises(BrokenExecutor):
            executor.submit(square, 3)


@pytest.mark.parametrize(
    ("options", "kind", "named"),
    [
        ({"comm": 3}, TypeError, "comm"),
        ({"root": 1}, ValueError, "root"),
        ({"root": -1}, ValueError, "root"),
        ({"root": "0"}, TypeError, "root"),
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0, or None, got 0"),
        ({"max_workers": 1.5}, TypeError, "max_workers"),
        ({"max_workers": True}, TypeError, "max_workers"),
        ({"initializer": 3}, TypeError, "initializer"),
        ({"initializer": len, "initargs": 3}, TypeError, "initargs"),
        ({"speed": 3}, TypeError, "speed"),
        ({"deps": []}, TypeError, r"options\(deps"),
        ({"cache_items": 3}, TypeError, "cache_items"),
        ({"cache_items": ["a"]}, TypeError, "cache_items"),
    ],
)
def test_bad_arguments_are_refused(options, kind, named) -> None:
    with pytest.raises(kind, match=named):
        PoolExecutor(**options)


POOL = ([], [1], np.zeros(2), np.zeros(5_000), {}, (1, "a"), (2, []), 3, 1.5, "text", None, b"x")


def _change(item):
    """Change an item in place, if possible, and return it."""
    inner = item[-1] if isinstance(item, tuple) else item
    if isinstance(inner, list):
        inner.append(len(inner))
    elif isinstance(inner, np.ndarray):
        inner += 1
    elif isinstance(inner, dict):
        inner[len(inner)] = 0
    return item


@given(
    picks=st.lists(st.integers(0, len(POOL) - 1), max_size=30),
    chunksize=st.none() | st.integers(1, 30),
    buffersize=st.none() | st.integers(1, 30),
)
@settings(max_examples=30, deadline=None)
def test_maps_work_on_copies_of_their_items(picks, chunksize, buffersize) -> None:
    items = [POOL[pick] for pick in picks]
    with PoolExecutor() as executor:
        results = [*executor.map(_change, items, chunksize=chunksize, buffersize=buffersize)]
    assert repr(results) == repr([_change(copy.deepcopy(item)) for item in items])


def test_an_error_inside_the_block_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError), PoolExecutor() as executor:
        assert executor is not None
        future = executor.submit(square, 3)
        raise ZeroDivisionError
    assert future.result(LONG) == 9


def test_the_thread_of_a_deleted_executor_ends() -> None:
    before = set(threading.enumerate())
    executor = PoolExecutor()
    executor.submit(square, 3).result(LONG)
    (thread,) = set(threading.enumerate()) - before
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    assert gone() is None
    thread.join(LONG)
    assert not thread.is_alive()


def test_results_are_released_when_taken() -> None:
    with PoolExecutor() as executor:
        for made in executor.map(_Made, range(10)):
            gone = weakref.ref(made)
            del made
            gc.collect()
            assert gone() is None


class _Made:
    def __init__(self, n: int) -> None:
        self.n = n


EXIT = """
import time
from bsbpool.futures import PoolExecutor
def say(text):
    time.sleep(0.5)
    print(text, flush=True)
executor = PoolExecutor()
executor.submit(say, "done")
{}
"""


@pytest.mark.parametrize("end", ["", "executor.shutdown(wait=False)", "del executor"])
def test_the_interpreter_waits_for_calls(end) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXIT.format(end)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_warning_if_workers_cannot_be_spawned(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PMI", "OMPI_", "MPI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.warns(RuntimeWarning, match="no mpiexec on PATH"):
        executor = PoolExecutor(max_workers=3)
        assert executor.submit(square, 3).result(LONG) == 9
    executor.shutdown()


def test_waiting_uses_no_cpu_time() -> None:
    with PoolExecutor() as executor:
        executor.submit(square, 3).result(LONG)
        began = time.process_time()
        time.sleep(1)
        assert time.process_time() - began < 0.02
