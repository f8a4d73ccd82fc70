"""The options of calls in a single process; `tests/mpi/test_call_options.py` has other ranks."""

from __future__ import annotations

import threading
import time
import warnings
from typing import Any

import pytest
from numpy.random import SeedSequence, default_rng

from bsbpool.futures import PoolExecutor, single_call
from bsbpool.futures.single_call import SingleCall
from helpers.call_options import CHECKS, draw, rank, wait_for_cancel
from helpers.executors import LONG, nap


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_calls_have_options(check) -> None:
    with PoolExecutor() as executor:
        check(executor)


def test_an_executor_has_options_for_all_calls() -> None:
    with PoolExecutor(timeout=0.05, timestamps=True) as executor:
        with pytest.raises(TimeoutError):
            executor.submit(wait_for_cancel).result(LONG)
        assert executor.options(timeout=None).submit(nap, 0.1).result(LONG) is not None
    with pytest.raises(TypeError, match="does not take on_end"):
        PoolExecutor(on_end=[])


def test_random_numbers_are_those_of_many_ranks() -> None:
    with PoolExecutor(seed=3) as executor:
        futures = [executor.submit(draw) for _ in range(3)]
        streams = [SeedSequence(3, spawn_key=(n,)) for n in range(3)]
        expected = [default_rng(stream).random() for stream in streams]
        assert [future.result(LONG) for future in futures] == expected


def test_resources_are_declared() -> None:
    with PoolExecutor(resources={"gpu": 2}) as executor:
        assert executor.options(resources={"gpu": 2}).submit(rank).result(LONG) == 0
        with pytest.raises(ValueError, match="no rank can run the job"):
            executor.options(resources={"gpu": 3}).submit(rank).result(LONG)


def test_the_cache_is_kept_between_calls() -> None:
    import bsbpool

    made = []

    @bsbpool.pool_cached_function
    def table() -> int:
        made.append(time.monotonic())
        return len(made)

    def use() -> int:
        return int(table())

    with PoolExecutor(retries=1) as executor:
        view = executor.options(cache_items=[table])
        assert [view.submit(use).result(LONG) for _ in range(3)]


@pytest.mark.parametrize("method", ["__init__", "make_job", "execute"])
def test_a_call_that_is_cancelled_before_its_function_does_not_run(
    monkeypatch, tmp_path, method
) -> None:
    owner: Any = single_call if method == "make_job" else SingleCall
    original = getattr(owner, method)
    reached, cancelled = threading.Event(), threading.Event()

    def delayed(*args: Any, **kwargs: Any) -> Any:
        reached.set()
        assert cancelled.wait(LONG)
        return original(*args, **kwargs)

    with PoolExecutor() as executor:
        with monkeypatch.context() as patches:
            patches.setattr(owner, method, delayed)
            future = executor.options(retries=1).submit((tmp_path / "ran").touch)
            assert reached.wait(LONG) and future.running()
            assert future.cancel(running=True) and future.cancelled()
            cancelled.set()
            assert executor.submit(nap, 0.0).result(LONG) == 0.0
        assert executor.options(retries=1).submit(rank).result(LONG) == 0
    assert not (tmp_path / "ran").exists()


def test_a_call_that_has_just_ended_is_not_cancelled(monkeypatch) -> None:
    execute = SingleCall.execute
    ended, asked = threading.Event(), threading.Event()

    def delayed(self: SingleCall) -> None:
        execute(self)
        ended.set()
        assert asked.wait(LONG)

    monkeypatch.setattr(SingleCall, "execute", delayed)
    with PoolExecutor() as executor:
        future = executor.options(retries=1).submit(rank)
        assert ended.wait(LONG)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not future.cancel(running=True)
        asked.set()
        assert future.result(LONG) == 0
