"""Shared parts of the systems."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from benches.programs.common import Meter, task
from benches.workloads import Workload

Figures = dict[str, float]
Run = Callable[[Workload], Figures]
Script = Callable[[Run], None]


def on_all_ranks(script: Script, once: Callable[[Workload | None], Figures]) -> None:
    """Call `script` on the main rank, and `once` on every rank for each workload that it runs."""
    from mpi4py import MPI  # here, because systems without ranks need no MPI

    comm = MPI.COMM_WORLD
    if comm.rank:
        while comm.bcast(None):
            once(None)
        return

    def run(workload: Workload) -> Figures:
        comm.bcast(True)
        return once(workload)

    script(run)
    comm.bcast(False)


def on_pool(pool: Any, workload: Workload | None) -> Figures:
    """Run a workload on a pool with bsb's interface, which handles dependencies."""
    meter = Meter()
    if workload is not None:
        args = (bytes(workload.bytes), workload.kernel)
        jobs: list[Any] = []
        last, deps = None, None
        for needed in workload.deps:
            if needed is not last:  # tasks that share their dependencies share the list
                last, deps = needed, [jobs[number] for number in needed]
            jobs.append(pool.queue(task, args, deps=deps))
    results = pool.execute(return_results=True)
    figures = meter.read()
    if workload is not None:
        assert len(results) == len(workload.deps)
        for result in results.values():
            check(result, workload)
    return figures


class Countdown:
    """Tracks which tasks may run, for systems without dependencies."""

    def __init__(self, deps: list[tuple[int, ...]]) -> None:
        self._missing = [len(needed) for needed in deps]
        self._waiting: list[list[int]] = [[] for _ in deps]
        for number, needed in enumerate(deps):
            for other in needed:
                self._waiting[other].append(number)
        self.first = [number for number, needed in enumerate(deps) if not needed]

    def done(self, number: int) -> list[int]:
        """Return the tasks that may run after a task is done."""
        ready = []
        for other in self._waiting[number]:
            self._missing[other] -= 1
            if not self._missing[other]:
                ready.append(other)
        return ready


def by_futures(submit: Callable[..., Future], function: Any, workload: Workload) -> Figures:
    """Run a workload on an executor: submit each task when it may run."""
    payload = bytes(workload.bytes)
    countdown = Countdown(workload.deps)
    ended: SimpleQueue[tuple[int, Future]] = SimpleQueue()
    meter = Meter()

    def start(numbers: list[int]) -> None:
        for number in numbers:
            future = submit(function, None, payload, workload.kernel)
            future.add_done_callback(lambda future, number=number: ended.put((number, future)))

    start(countdown.first)
    for _ in workload.deps:
        number, future = ended.get()
        check(future.result(), workload)
        start(countdown.done(number))
    return meter.read()


def check(result: bytes, workload: Workload) -> None:
    """Raise an error for a wrong result."""
    if len(result) != workload.bytes:
        raise AssertionError(f"a task returned {result!r}")
