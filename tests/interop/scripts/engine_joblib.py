"""Scenes of joblib on engines of the interface of ipyparallel."""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import Any

import joblib
import numpy as np
from joblib import Parallel, delayed
from playing import show

import bsbpool.integrations.ipyparallel as ipp

BASE = 10


def root(x: float) -> float:
    return float(np.sqrt(x)) + BASE


def fail_at_three(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return x


def overwrite(array: Any) -> float:
    array[0] = 7
    return float(array.sum())


def nested(n: int) -> Any:
    return Parallel(n_jobs=2)(delayed(root)(k * k) for k in range(n))


def process(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def names() -> Any:
    ipp.register_joblib_backend()
    view.register_joblib_backend("balanced")
    rc[:2].register_joblib_backend("two")
    return [
        Parallel(backend=name, n_jobs=-1)(delayed(root)(n * n) for n in range(4))
        for name in ("ipyparallel", "balanced", "two")
    ]


def view_of_the_backend() -> Any:
    return Parallel(backend="balanced")._backend._view is view


def engines() -> Any:
    """Return how many engines have run calls."""
    return [
        len(set(Parallel(backend=name, n_jobs=n)(delayed(process)(n) for n in range(40))))
        for name, n in (("balanced", -1), ("balanced", 2), ("two", -1))
    ]


def ways_to_choose() -> Any:
    with joblib.parallel_config("balanced", n_jobs=3, inner_max_num_threads=2):
        first = Parallel()(delayed(pow)(n, 2) for n in range(4))
    with joblib.parallel_backend("balanced", n_jobs=-1):
        second = Parallel()(delayed(pow)(n, 2) for n in range(4))
    stream = Parallel(backend="balanced", n_jobs=3, return_as="generator_unordered")
    return first, second, sorted(stream(delayed(pow)(n, 2) for n in range(4)))


def arrays() -> Any:
    given = [np.ones(200_000) for _ in range(3)]
    sums = Parallel(backend="balanced", n_jobs=3)(delayed(overwrite)(array) for array in given)
    return sums, [float(array[0]) for array in given]


def nested_calls() -> Any:
    return Parallel(backend="balanced", n_jobs=3)(delayed(nested)(n) for n in range(3))


def errors() -> Any:
    try:
        Parallel(backend="balanced", n_jobs=3)(delayed(fail_at_three)(n) for n in range(200))
    except ipp.RemoteError as error:
        assert error.__cause__ is not None
        return error.ename, repr(error.__cause__), len(view.outstanding)
    return None


def time_limit() -> Any:
    began = time.monotonic()
    calls = Parallel(backend="balanced", n_jobs=2, timeout=0.3)
    try:
        calls(delayed(time.sleep)(seconds) for seconds in (0.1, 1, 0.1))
    except multiprocessing.TimeoutError:
        late = time.monotonic() - began
        view.wait()
        return late < 0.9, len(view.outstanding)
    return None


if __name__ == "__main__":
    rc = ipp.Client()
    view = rc.load_balanced_view()
    show(names, view_of_the_backend, engines, ways_to_choose)
    show(arrays, nested_calls, errors, time_limit)
