"""Calls, maps and data on two engines, with bsbpool or with ipyparallel."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

from benches.programs.common import noop, options, say


@contextmanager
def own():
    import bsbpool.integrations.ipyparallel as ipp

    with ipp.Cluster() as client:
        yield client


@contextmanager
def peer():
    import ipyparallel as ipp

    # A temporary folder, so that nothing stays in the user's.
    with (
        tempfile.TemporaryDirectory() as folder,
        ipp.Cluster(n=2, ipython_dir=folder, log_level=logging.ERROR) as client,
    ):
        client.wait_for_engines(2, timeout=60)
        yield client


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def rate_of_calls(client: Any, views: list[Any], tasks: int) -> float:
    def run() -> None:
        results = [views[n % len(views)].apply_async(noop, None, n) for n in range(tasks)]
        client.wait(results)
        if [result.get() for result in results] != list(range(tasks)):
            raise AssertionError("wrong results")

    run()
    return tasks / seconds(run)


def rate_of_map(view: Any, tasks: int, chunksize: int) -> float:
    def run() -> None:
        if view.map_sync(abs, range(tasks), chunksize=chunksize) != list(range(tasks)):
            raise AssertionError("wrong results")

    return tasks / seconds(run)


def rates(client: Any, tasks: int) -> dict[str, float]:
    balanced = client.load_balanced_view()
    return {
        "direct": rate_of_calls(client, [client[id] for id in client.ids], tasks),
        "balanced": rate_of_calls(client, [balanced], tasks),
        "map 1": rate_of_map(balanced, tasks, 1),
        "map 100": rate_of_map(balanced, 10 * tasks, 100),
    }


def measure(client: Any, tasks: int, prefetch: bool) -> None:
    figures = rates(client, tasks)
    if prefetch:
        client.load_balanced_view(prefetch=True)  # for all tasks from now on
        figures |= {f"{name} ahead": rate for name, rate in rates(client, tasks).items()}
        client.load_balanced_view(prefetch=False)
    direct = client[:]
    array = np.ones(1 << 26, np.uint8)
    figures |= {
        "latency": seconds(lambda: client[client.ids[0]].apply_sync(noop, None, 1), 50),
        "push": seconds(lambda: direct.push({"array": array}, block=True), 3),
        "pull": seconds(lambda: direct.pull("array", block=True), 3),
    }
    say(**figures)


def main() -> None:
    given = options(tasks=10_000, peer=False)
    with peer() if given.peer else own() as client:
        if client is not None:
            measure(client, given.tasks, prefetch=not given.peer)


if __name__ == "__main__":
    main()
