"""Executors whose workers die."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import BrokenExecutor

import pytest

from bsbpool import WorkerLostError
from bsbpool.futures import PoolExecutor

from .test_deaths import survives

LONG = 20.0


def die(seconds: float = 0.0) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def square(n: int) -> int:
    return n * n


@survives(4, deaths=2)
def test_the_future_has_the_error_and_the_others_go_on() -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            for _ in range(2):
                lost = executor.submit(die)
                assert isinstance(lost.exception(LONG), WorkerLostError)
                assert [*executor.map(square, range(500))] == [n * n for n in range(500)]


@survives(4, deaths=1)
def test_a_spare_rank_takes_the_place() -> None:
    with PoolExecutor(max_workers=1) as executor:
        if executor is not None:
            assert isinstance(executor.submit(die).exception(LONG), WorkerLostError)
            assert executor.submit(square, 3).result(LONG) == 9


@survives(3, deaths=2)
def test_without_workers_the_executor_is_broken() -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            futures = [executor.submit(die) for _ in range(5)]
            errors = [future.exception(LONG) for future in futures]
            assert sum(isinstance(error, WorkerLostError) for error in errors) == 2
            assert sum(isinstance(error, BrokenExecutor) for error in errors) == 3
            with pytest.raises(BrokenExecutor):
                executor.submit(square, 3)
