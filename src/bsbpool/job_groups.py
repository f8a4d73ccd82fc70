"""Several jobs as one handle, jobs in the order in which they end, and runs beside coroutines."""

from __future__ import annotations

import asyncio
import queue
import weakref
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from bsbpool import exceptions
from bsbpool.jobs import Job
from bsbpool.naming import brief
from bsbpool.waiting import CHECK_SECONDS, call_soon, end_of, wait

T = TypeVar("T")

MOST_TRACEBACKS = 4
"""Failures of a group whose errors are printed with a traceback."""


class AsyncPool(Protocol):
    """The part of a pool that `execute` uses."""

    def is_main(self) -> bool:
        """Whether this rank schedules the jobs."""

    def execute(self, return_results: bool = False, timeout: float | None = None) -> Any:
        """Run the jobs."""

    def stop(self) -> None:
        """End the run early."""

    def __exit__(self, *error: Any) -> None:
        """End the ``with`` block."""


class JobGroup(Generic[T]):
    """Several jobs as one handle; made by `JobPool.group`. ``await group`` gives the values.

    Parameters
    ----------
    jobs : iterable of Job
        The jobs.

    Attributes
    ----------
    jobs : list of Job
        The jobs, in the given order.
    """

    def __init__(self, jobs: Iterable[Job[T]]) -> None:
        self.jobs = as_list(jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Job[T]]:
        return iter(self.jobs)

    def ready(self) -> bool:
        """Return whether all jobs have ended."""
        return all(job.ready() for job in self.jobs)

    def successful(self) -> bool:
        """Return whether all jobs have succeeded."""
        return all(job.successful() for job in self.jobs)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all jobs have ended; return whether they have. See `Job.wait`."""
        return wait(self.jobs, timeout)

    def get(self, timeout: float | None = None) -> list[T]:
        """Wait for all jobs and return their results in order.

        Parameters
        ----------
        timeout : float, optional
            The longest wait, in seconds.

        Raises
        ------
        TimeoutError
            If they have not ended in time.
        WorkflowError
            If some did not succeed; it has a `JobErroredError` for each. The first four have the
            error as cause, whose traceback is printed; the others name it.
        """
        if not self.wait(timeout):
            n = sum(not job.ready() for job in self.jobs)
            raise TimeoutError(f"{n} of {len(self)} jobs have not ended within {timeout:g} s")
        failed = [job for job in self.jobs if not job.successful()]
        if failed:
            raise _failure_of(failed, len(self))
        return [job.result for job in self.jobs]

    def cancel(self, reason: str | None = None, running: bool = False) -> None:
        """Cancel the jobs that have not ended, see `Job.cancel`."""
        for job in self.jobs:
            if not job.ready():
                job.cancel(reason, running=running)

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._values().__await__()

    async def _values(self) -> list[T]:
        for job in self.jobs:
            await end_of(job)
        return self.get()

    def __repr__(self) -> str:
        ended = sum(job.ready() for job in self.jobs)
        return f"<{type(self).__name__}: {ended} of {len(self)} jobs have ended>"


def as_list(jobs: Iterable[Job[T]]) -> list[Job[T]]:
    """Return jobs as a list; refuse other objects."""
    if isinstance(jobs, Job) or not hasattr(jobs, "__iter__"):
        raise TypeError(f"jobs must be a list of jobs, got {brief(jobs)}; use [job]")
    made = list(jobs)
    for job in made:
        if not isinstance(job, Job):
            raise TypeError(f"jobs must contain jobs as returned by queue(), got {brief(job)}")
    return made


def _failure_of(failed: Sequence[Job[Any]], n: int) -> exceptions.WorkflowError:
    errors = []
    for i, job in enumerate(failed):
        text = f"{job.label} {job.status.value}: {type(job.error).__name__}: {job.error}"
        error = exceptions.JobErroredError(text, job.error)
        if i < MOST_TRACEBACKS:
            error.__cause__ = job.error
        errors.append(error)
    return exceptions.WorkflowError(f"{len(failed)} of {n} jobs did not succeed", errors)


class CompletedJobs(Generic[T]):
    """Jobs in the order in which they end; made by `JobPool.as_completed`.

    Iterate with ``for`` in a thread other than the one that executes the pool, or after the run;
    with ``async for`` in a coroutine.

    Parameters
    ----------
    jobs : iterable of Job
        The jobs; each is returned once.
    """

    def __init__(self, jobs: Iterable[Job[T]]) -> None:
        self._jobs = list(dict.fromkeys(as_list(jobs)))

    def __iter__(self) -> Iterator[Job[T]]:
        left = {job for job in self._jobs if not job.ready()}
        yield from [job for job in self._jobs if job not in left]
        ended: queue.SimpleQueue[Job[T]] = queue.SimpleQueue()
        for job in left:
            job.on_completion(ended.put)
        while left:
            job = _next_of(ended, left)
            if job in left:
                left.discard(job)
                yield job

    async def __aiter__(self) -> AsyncIterator[Job[T]]:
        loop = asyncio.get_running_loop()
        ended: asyncio.Queue[Job[T]] = asyncio.Queue()
        for job in self._jobs:
            job.on_completion(lambda job: call_soon(loop, ended.put_nowait, job))
        for _ in self._jobs:
            yield await ended.get()


def _next_of(ended: queue.SimpleQueue[Job[T]], left: set[Job[T]]) -> Job[T]:
    """Return a job that has ended; wait for it if this thread may wait."""
    while True:
        try:
            return ended.get_nowait()
        except queue.Empty:
            pass
        try:
            next(iter(left)).check_waiting(None)
        except exceptions.JobPoolError:
            # In the thread that executes the pool, callbacks may be called later.
            for job in left:
                if job.ready():
                    return job
            raise
        with suppress(queue.Empty):
            return ended.get(timeout=CHECK_SECONDS)


# ------------------------------------------------------------------ runs


async def execute(pool: AsyncPool, return_results: bool, timeout: float | None) -> Any:
    """Execute a pool in a thread of the main rank, so that coroutines run meanwhile.

    Other ranks only run jobs, so they execute the pool at once.
    """
    if not pool.is_main():
        return pool.execute(return_results, timeout)
    run = asyncio.ensure_future(asyncio.to_thread(pool.execute, return_results, timeout))
    _runs[pool] = run
    try:
        return await asyncio.shield(run)
    except asyncio.CancelledError:
        await _stop(pool, run)
        raise


async def leave(pool: AsyncPool, *error: Any) -> None:
    """End the ``async with`` block of a pool: wait for its run, which an error stops."""
    run = _runs.pop(pool, None)
    if run is not None and not run.done():
        if error[0] is not None:
            await _stop(pool, run)
        await asyncio.wait([run])
    pool.__exit__(*error)


async def _stop(pool: AsyncPool, run: asyncio.Future[Any]) -> None:
    """Stop a run, which its thread may not have begun, and wait for its end."""
    while not run.done():
        pool.stop()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([run], timeout=STOP_SECONDS)
    run.exception()  # so that it counts as read


_runs: weakref.WeakKeyDictionary[Any, asyncio.Future[Any]] = weakref.WeakKeyDictionary()
"""The runs that `execute` has started, by their pools."""
STOP_SECONDS = 0.05
"""How often a run is told to stop until it has ended."""
