"""joblib and scikit-learn on the pool and without it."""

from __future__ import annotations

import os
import threading
import time
import warnings
from typing import Any

import joblib
import numpy
from joblib import Parallel, delayed, parallel_backend, parallel_config
from playing import error_of, show
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from bsbpool.futures import PoolExecutor
from bsbpool.integrations.joblib import register

DURING = 0.2
"""Seconds in which calls meet that may run at one time."""


def square(x: int) -> int:
    return x * x


def late(x: int) -> int:
    time.sleep(DURING * (x == 0))
    return x


def fails(x: int) -> int:
    if x == 3:
        raise LookupError("three")
    return x


def where(x: int) -> int:
    return os.getpid()


def span(x: int) -> tuple[float, float]:
    start = time.monotonic()
    time.sleep(DURING / 4)
    return start, time.monotonic()


def at_once(n_jobs: int) -> int:
    """How many calls run at one time, at most."""
    spans = Parallel(n_jobs=n_jobs, batch_size=1)(delayed(span)(n) for n in range(8))
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


def lists() -> Any:
    calls = [delayed(square)(n) for n in range(3_000)]
    serial = [square(n) for n in range(3_000)]
    arrays = Parallel()(delayed(numpy.full)(200_000, n) for n in range(4))
    return {
        "config": Parallel()(calls) == serial,
        "named": Parallel(n_jobs=-1, backend="bsbpool")(calls) == serial,
        "batches": Parallel(batch_size=100, pre_dispatch="all")(calls) == serial,
        "reused": (lambda run: run(calls) == run(iter(calls)) == serial)(Parallel()),
        "arrays": [bool((array == n).all()) for n, array in enumerate(arrays)],
        "writable": all(array.flags.writeable for array in arrays),
        "lambda": Parallel()(delayed(lambda x: x + 1)(n) for n in range(3)),
        "none": Parallel()([]),
    }


def backends() -> Any:
    with parallel_backend("bsbpool", n_jobs=2):
        return Parallel()(delayed(square)(n) for n in range(5))


def generators() -> Any:
    ordered = Parallel(return_as="generator")(delayed(square)(n) for n in range(5))
    other = Parallel(return_as="generator")(delayed(square)(n) for n in range(5))
    both = list(zip(ordered, other, strict=True))
    unordered = Parallel(return_as="generator_unordered", batch_size=1)
    return both, list(unordered(delayed(late)(n) for n in range(20)))


def managed() -> Any:
    with Parallel() as parallel:
        return [parallel(delayed(square)(n) for n in range(m)) for m in (2, 3)]


def abandoned() -> Any:
    """What is left of a generator does not stay in anybody's way."""
    results = Parallel(return_as="generator", batch_size=1)(delayed(late)(n) for n in range(9, 60))
    first = next(results)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib counts what was not used
        results.close()
    return first, Parallel()(delayed(square)(n) for n in range(3))


def errors() -> Any:
    run = Parallel(batch_size=1)
    reported = error_of(run, (delayed(fails)(n) for n in range(20)))
    unpicklable = error_of(run, (delayed(square)(threading.Lock()) for _ in range(3)))
    return reported, unpicklable and unpicklable[0], run(delayed(square)(n) for n in range(3))


def timeouts() -> Any:
    run = Parallel(timeout=DURING / 4, batch_size=1)
    reported = error_of(run, (delayed(late)(n) for n in (0, 0, 1)))
    return reported and reported[0], Parallel(timeout=60)(delayed(late)(n) for n in range(3))


def jobs() -> Any:
    wanted = (-1, 1, 2, 9, -2, -9)
    return {
        "effective": {n: joblib.effective_n_jobs(n) for n in wanted},
        "zero": error_of(Parallel(n_jobs=0), [delayed(square)(1)]),
        "alone": Parallel(n_jobs=1)(delayed(where)(n) for n in range(3)) == [os.getpid()] * 3,
        "here": os.getpid() in Parallel(batch_size=1)(delayed(where)(n) for n in range(20)),
        "at once": [at_once(1), at_once(2), at_once(-1)],
    }


def inside(n: int) -> Any:
    backend, _ = joblib.parallel.get_active_backend()
    same = Parallel(n_jobs=-1, backend="bsbpool") if n else Parallel(n_jobs=-1)
    return type(backend).__name__, same(delayed(square)(m) for m in range(4)), where(0)


def nested() -> Any:
    register_here = Parallel(batch_size=1)(delayed(inside_registered)(n) for n in range(3))
    return [[name, squares] for name, squares, _ in register_here]


def inside_registered(n: int) -> Any:
    register()
    return inside(n)


def limits(_: int) -> Any:
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    libraries = {library["num_threads"] for library in threadpool_info()}
    return [os.environ.get("OMP_NUM_THREADS"), max(libraries)]


def threads() -> Any:
    calls = [delayed(limits)(n) for n in range(2)]
    seen = {"share": Parallel()(calls)}
    with parallel_config("bsbpool", inner_max_num_threads=3):
        seen["three"] = Parallel()(calls)
    inner = delayed(lambda: joblib.effective_n_jobs(-1))
    return {**seen, "inner": Parallel()(inner() for _ in range(3))}


def search() -> Any:
    X, y = make_classification(120, 6, random_state=1)
    forest = RandomForestClassifier(5, random_state=0, n_jobs=2)
    grid = {"max_depth": [1, 3], "max_features": [1, 2]}

    def found(n_jobs: int | None) -> Any:
        fitted = GridSearchCV(forest, grid, cv=3, n_jobs=n_jobs, error_score="raise").fit(X, y)
        scores = [list(fitted.cv_results_[f"split{n}_test_score"]) for n in range(3)]
        return scores, fitted.best_params_, list(fitted.predict(X))

    return found(1) == found(None) == found(-1)


SCENES = [lists, backends, generators, managed, abandoned, errors, timeouts, jobs]
register()
with PoolExecutor() as executor:
    if executor is not None:
        with parallel_config("bsbpool"):
            show(*SCENES, nested, threads, search)

        def own() -> Any:
            """An executor by name, in a program that has another."""
            with parallel_config("bsbpool", executor=executor):
                return Parallel()(delayed(square)(n) for n in range(4))

        show(own)
        executor.shutdown()

        def shut() -> Any:
            reported = []
            for n_jobs in (None, 2):
                for more in ({}, {"executor": executor}):
                    with parallel_config("bsbpool", n_jobs=n_jobs, **more):
                        reported.append(error_of(Parallel(), [delayed(square)(1)]))
            return reported

        show(shut)
