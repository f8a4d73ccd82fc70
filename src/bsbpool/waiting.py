"""Waiting for jobs: in other threads, and in coroutines on the main rank."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from bsbpool import arguments, exceptions
from bsbpool._core.jobs.handle import RemoteResult
from bsbpool.status import JobStatus

CHECK_SECONDS = 0.5
"""How often a wait looks whether it can still end."""


def wait(jobs: Iterable[Any], timeout: float | None = None) -> bool:
    """Wait until all jobs have ended; return whether they have.

    Raises
    ------
    JobPoolError
        If the wait would not end.
    """
    timeout = None if timeout is None else arguments.seconds("timeout", timeout)
    unfinished = [job for job in jobs if not job.ready()]
    if not unfinished:
        return True
    for job in unfinished:
        job.check_waiting(timeout)
    ended, left = threading.Event(), threading.Semaphore(len(unfinished) - 1)

    def count(job: Any) -> None:
        if not left.acquire(blocking=False):
            ended.set()

    for job in unfinished:
        job.on_completion(count)
    end = None if timeout is None else time.monotonic() + timeout
    while not ended.wait(CHECK_SECONDS if end is None else _seconds_until(end)):
        if end is not None and time.monotonic() >= end:
            return False
        for job in unfinished:
            if not job.ready():
                job.check_waiting(timeout)  # the pool may have been left without a run
    return True


def _seconds_until(end: float) -> float:
    return min(max(0.0, end - time.monotonic()), CHECK_SECONDS)


def value_of(job: Any, timeout: float | None = None) -> Any:
    """Wait for a job; return its result or raise its error."""
    if not wait([job], timeout):
        raise TimeoutError(f"{job.label} has not ended within {timeout:g} s")
    if job.successful():
        return job.result
    raise job.error or exceptions.JobPoolError(f"{job.label} has no result and no error")


def why_no_result(job: Any, pool: Any) -> str:
    """Return why a job has no result: a sentence."""
    status = job.status
    if pool.id is None:
        return "results exist until the `with` block of the pool ends."
    if job.number is None:
        return "the job is not in its pool; call pool.put(job) first."
    if isinstance(job.stored_outcome, RemoteResult):
        return 'it stays on its worker (keep="worker"); other jobs can have it as an argument.'
    if not pool.is_main():
        return "results exist only on rank 0."
    if status in (JobStatus.PENDING, JobStatus.QUEUED):
        return f"the job is {status.name}; call pool.execute() first."
    if status is JobStatus.RUNNING:
        return "the job is RUNNING; wait until it has ended."
    return f"the job is {status.name}; job.error says why."


async def completion(job: Any) -> Any:
    """Wait for a job in a coroutine; return its result or raise its error."""
    await end_of(job)
    return value_of(job)


async def end_of(job: Any) -> None:
    """Wait for the end of a job in a coroutine."""
    if not job.ready():
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        job.on_completion(lambda _: call_soon(loop, _settle, ended))
        while not ended.done():
            await asyncio.wait([ended], timeout=CHECK_SECONDS)
            if not job.ready():
                job.check_waiting(0.0)  # raises if the pool was left without a run


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():  # it was cancelled
        ended.set_result(None)


def call_soon(loop: asyncio.AbstractEventLoop, function: Any, *args: Any) -> None:
    """Call a function in the thread of an event loop, unless the loop is closed."""
    with suppress(RuntimeError):  # the loop is closed, so nothing waits any more
        loop.call_soon_threadsafe(function, *args)
