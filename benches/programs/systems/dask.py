"""Dask distributed: one worker process with one thread; the scheduler handles dependencies."""

from __future__ import annotations

import logging

from distributed import Client, LocalCluster

from benches.programs.common import Meter, task
from benches.programs.systems.support import Figures, Script, check
from benches.workloads import Workload


def after(payload: bytes, microseconds: float, *needed: bytes) -> bytes:
    """Run a task; Dask passes the results of its dependencies."""
    return task(None, payload, microseconds)


def session(script: Script) -> None:
    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.ERROR,
    )
    with cluster, Client(cluster) as client:
        script(lambda workload: once(client, workload))


def once(client: Client, workload: Workload) -> Figures:
    payload = bytes(workload.bytes)
    meter = Meter()
    futures: list = []
    for needed in workload.deps:
        before = [futures[number] for number in needed]
        # Not pure, because Dask would run equal calls once.
        futures.append(client.submit(after, payload, workload.kernel, *before, pure=False))
    results = client.gather(futures)
    figures = meter.read()
    for result in results:
        check(result, workload)
    return figures
