"""Jobs with rich arguments and results, on a pool or by a loop written by hand.

The loop sends batches of 64 jobs, up to 4 of them at a time. The call of each job and its result
are pickles of their own, as they have to be in a pool. Closures are pickled by cloudpickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benches.programs.common import Meter, noop, options, say
from bsbpool import create_job_pool
from bsbpool.caching import pool_cached_function

BATCH, IN_FLIGHT = 64, 4


class Call(NamedTuple):
    """A job: the function, and its arguments after the owner."""

    f: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - never changed


def keywords(owner: Any, *, x: int, mode: str) -> int:
    return x


def from_dict(owner: Any, given: dict[str, Any]) -> int:
    return given["x"]


def to_dict(owner: Any, number: int) -> dict[str, Any]:
    return {"x": number, "rate": 0.5, "mode": "b"}


def from_array(owner: Any, given: np.ndarray) -> int:
    return int(given[0])


def after_number(number: int, owner: Any) -> int:
    return number


def closure(number: int) -> Callable[..., int]:
    def closed(owner: Any) -> int:
        return number

    return closed


@pool_cached_function
def cached() -> int:
    return 1


ROWS: dict[str, Callable[[int], Call]] = {
    "plain": lambda n: Call(noop, (n,)),
    "keywords": lambda n: Call(keywords, (), {"x": n, "mode": "b"}),
    "argument": lambda n: Call(from_dict, ({"x": n, "rate": 0.5, "mode": "b"},)),
    "result": lambda n: Call(to_dict, (n,)),
    "array": lambda n: Call(from_array, (np.full(20, float(n)),)),
    "closure": lambda n: Call(closure(n)),
    "partial": lambda n: Call(partial(after_number, n)),
    "cached": lambda n: Call(noop, (n,)),
}
BY_VALUE = ("closure", "partial")
"""Rows whose function differs from job to job, so that the loop sends it with each of them."""


def checked(row: str, results: list[Any]) -> None:
    numbers = [result["x"] for result in results] if row == "result" else results
    assert numbers == list(range(len(results)))


def on_pool(row: str, jobs: int) -> dict[str, float] | None:
    """Run the jobs on a pool; return the main rank's figures."""
    calls = [ROWS[row](number) for number in range(jobs)]
    with create_job_pool(quiet=True) as pool:
        meter = Meter()
        if pool.is_main():
            if row == "cached":
                for f, args, _ in calls:
                    pool.queue(f, args, cache_items=[cached])
            elif row == "keywords":
                for f, args, kwargs in calls:
                    pool.queue(f, args, kwargs)
            else:
                for f, args, _ in calls:
                    pool.queue(f, args)
        results = pool.execute(return_results=True)
        figures = meter.read()
        if not pool.is_main():
            return None
        checked(row, list(results.values()))
        return figures


def by_hand(row: str, jobs: int) -> dict[str, float] | None:
    """Run the jobs in the loop; return the main rank's figures."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    calls = [ROWS[row](number) for number in range(jobs)]
    if comm.rank:
        follow(comm, calls[0].f)
        return None
    meter = Meter()
    results = lead(comm, row, calls)
    figures = meter.read()
    checked(row, results)
    return figures


def lead(comm: Any, row: str, calls: list[Call]) -> list[Any]:
    dumps, loads = _pickling(row)
    results: list[Any] = []
    flying = 0
    for begin in range(0, len(calls), BATCH):
        if flying == IN_FLIGHT:
            results += [loads(blob) for blob in comm.recv()]
            flying -= 1
        batch = calls[begin : begin + BATCH]
        if row in BY_VALUE:
            blobs = [dumps((call.f, call.args, call.kwargs), 5) for call in batch]
        elif row == "keywords":
            blobs = [dumps((call.args, call.kwargs), 5) for call in batch]
        else:
            blobs = [dumps(call.args, 5) for call in batch]
        comm.send(blobs, 1)
        flying += 1
    for _ in range(flying):
        results += [loads(blob) for blob in comm.recv()]
    comm.send(None, 1)
    return results


def follow(comm: Any, f: Callable[..., Any]) -> None:
    while (blobs := comm.recv()) is not None:
        comm.send([pickle.dumps(_call(f, pickle.loads(blob)), 5) for blob in blobs], 0)


def _call(f: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    if len(given) == 3:
        f, args, kwargs = given
    elif len(given) == 2:
        args, kwargs = given
    else:
        args, kwargs = given, {}
    return f(*args, None, **kwargs) if isinstance(f, partial) else f(None, *args, **kwargs)


def _pickling(row: str) -> tuple[Any, Any]:
    if row != "closure":
        return pickle.dumps, pickle.loads
    import cloudpickle

    return cloudpickle.dumps, pickle.loads


def main() -> None:
    given = options(row="plain", jobs=1000, hand=False)
    figures = (by_hand if given.hand else on_pool)(given.row, given.jobs)
    if figures is not None:
        say(jobs=given.jobs, **figures)


if __name__ == "__main__":
    main()
