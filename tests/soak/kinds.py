"""Uses of a pool, right and wrong ones. Each opens a pool on all ranks and closes it.

Every kind checks that all of its jobs are accounted for, so that the soak is not a run of nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bsbpool import (
    Job,
    JobPool,
    JobStatus,
    SubmissionContext,
    WorkflowError,
    create_job_pool,
    pool_cached_function,
    services,
)

LARGE = 40_000
"""Elements of an array that is sent separately from its frame."""


class Interrupted(Exception):
    """An error that ends a run early."""


class Own(Job):
    """A subclass of the user."""

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        return sum(args)


@pool_cached_function
def table(n: int) -> list[int]:
    """Return an object that jobs share."""
    return list(range(n))


def give(owner: Any, value: Any) -> Any:
    return value


def fail(owner: Any, number: int) -> None:
    raise ValueError(number)


def fail_sometimes(owner: Any, number: int) -> int:
    if number % 5 == 0:
        raise ValueError(number)
    return number


def doubled(owner: Any, array: Any) -> Any:
    return array * 2


def look_up(owner: Any, number: int) -> int:
    return table(50)[number]


def open_another(owner: Any, number: int) -> Any:
    with create_job_pool(quiet=True) as inner:
        job = inner.submit(give, number)
        inner.execute()
        return job.result


def opened(**options: Any) -> JobPool:
    return create_job_pool(quiet=True, **options)


@contextmanager
def ends_with(error: type[BaseException]) -> Iterator[None]:
    """Expect an error on main; workers may raise it, too."""
    raised = None
    try:
        yield
    except (WorkflowError, error) as one:
        raised = one
    assert services.MPI.get_rank() or isinstance(raised, error), raised


def count_of(jobs: list[Job]) -> dict[str, int]:
    """Return the number of jobs by status."""
    ends = [job.status.value for job in jobs]
    return {end: ends.count(end) for end in set(ends)}


# ------------------------------------------------------------------ runs that succeed


def plain(n: int) -> None:
    with opened() as pool:
        jobs = pool.queue_many(give, zip(range(20))) if pool.is_main() else []
        pool.execute()
        assert [job.result for job in jobs] == list(range(len(jobs)))


def graph(n: int) -> None:
    with opened() as pool:
        jobs: list[Job] = []
        if pool.is_main():
            for i in range(30):
                jobs.append(pool.submit(give, i, deps=jobs[-5:] or None))
            shared = set(jobs[:10])
            jobs += [pool.submit(give, i, deps=shared) for i in range(30, 40)]
        results = pool.execute(return_results=True)
        assert list(results.values()) == list(range(len(jobs)))


def closures(n: int) -> None:
    class Local:
        """Is pickled by value, because no worker can import it."""

        def __init__(self, number: int) -> None:
            self.number = number

    with opened() as pool:
        jobs = []
        if pool.is_main():
            jobs = [pool.submit(lambda owner, i=i, *, k: Local(i + n + k), k=1) for i in range(5)]
        results = pool.execute(return_results=True)
        assert [results[job].number for job in jobs] == [i + n + 1 for i in range(len(jobs))]


def arrays(n: int) -> None:
    with opened() as pool:
        jobs = []
        if pool.is_main():
            jobs = [pool.submit(doubled, np.full(LARGE, i)) for i in range(4)]
        results = pool.execute(return_results=True)
        for i, job in enumerate(jobs):
            assert results[job].sum() == job.result.sum() == 2 * i * LARGE


def cached(n: int) -> None:
    with opened() as pool:
        if pool.is_main():
            first = [pool.queue(look_up, (i,), cache_items=[table]) for i in range(10)]
            pool.queue(look_up, (7,), deps=first, cache_items=[table])
        pool.execute()
        assert count_of(pool.jobs) in ({"success": 11}, {})
    assert table.cache_info().currsize == 0


def own_kinds(n: int) -> None:
    with opened() as pool:
        jobs = []
        if pool.is_main():
            jobs = [pool.put(Own(pool, SubmissionContext(i), (i, n), {})) for i in range(5)]
        pool.execute()
        assert [job.result for job in jobs] == [i + n for i in range(len(jobs))]


def nested(n: int) -> None:
    with opened() as pool:
        jobs = pool.queue_many(open_another, zip(range(4))) if pool.is_main() else []
        pool.execute()
        assert [job.result for job in jobs] == list(range(len(jobs)))


def called_back(n: int) -> None:
    with opened() as pool:

        def more(job: Job) -> None:
            if len(pool.jobs) < 20:
                pool.submit(give, None).on_completion(more)

        if pool.is_main():
            pool.submit(give, None).on_completion(more)
        pool.execute()
        assert count_of(pool.jobs) in ({"success": 20}, {})


def listened_to(n: int) -> None:
    """With a pace, so that a serial run needs its second thread."""
    with opened() as pool:
        seen: list[Any] = []
        pool.add_listener(seen.append, max_wait=0.5 if n % 2 else None)
        if pool.is_main():
            pool.queue_many(give, zip(range(10)))
        pool.execute()
        # Added, queued, running, ended.
        assert sum(hasattr(record, "job") for record in seen) in (40, 0)


def scheduled(n: int) -> None:
    with opened() as pool:
        if pool.is_main():
            for start in (0, 10):
                pool.schedule(range(start, start + 10), lambda i: pool.submit(give, i))
        pool.execute()
        assert count_of(pool.jobs) in ({"success": 20}, {})


def of_a_communicator(n: int) -> None:
    """A separate channel, which ends with the communicator."""
    world = services.MPI.get_communicator()
    if not world:
        return plain(n)
    half = world.Split(world.rank % 2)
    try:
        with opened(comm=half) as pool:
            jobs = pool.queue_many(give, zip(range(5))) if pool.is_main() else []
            pool.execute()
            assert [job.result for job in jobs] == list(range(len(jobs)))
    finally:
        half.Free()


# ------------------------------------------------------------------ runs that fail


def failing(n: int) -> None:
    with ends_with(WorkflowError), opened() as pool:
        if pool.is_main():
            bad = pool.queue_many(fail_sometimes, zip(range(10)))
            pool.submit(give, 1, deps=bad)
        try:
            pool.execute()
        finally:
            assert count_of(pool.jobs) in ({"success": 8, "failed": 2, "cancelled": 1}, {})


def handled(n: int) -> None:
    with opened() as pool:
        pool.add_listener(lambda record: record.status is JobStatus.FAILED)
        if pool.is_main():
            pool.queue_many(fail, zip(range(5)))
        pool.execute()
        assert count_of(pool.jobs) in ({"failed": 5}, {})


def failing_fast(n: int) -> None:
    with ends_with(WorkflowError), opened(fail_fast=True) as pool:
        if pool.is_main():
            pool.submit(fail, n)
            pool.queue_many(give, [(np.full(LARGE, 1.0),)] * 3)
            pool.queue_many(give, zip(range(100)))
        pool.execute()


def cancelling(n: int) -> None:
    with opened() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about jobs that already run
        if pool.is_main():
            jobs = pool.queue_many(give, zip(range(40)))
            for job in jobs[10:20]:
                job.cancel("not wanted")
            after = pool.submit(give, 0, deps=[jobs[15]])
            jobs[0].on_completion(lambda _: [job.cancel() for job in jobs[30:]])
        pool.execute()
        if pool.is_main():
            assert count_of([*jobs[10:20], after]) == {"cancelled": 11}
            assert sum(count_of(jobs).values()) == 40


def told_to_end(n: int) -> None:
    """A listener raises while jobs and their arrays are being sent."""
    with ends_with(Interrupted), opened() as pool:

        def listener(record: Any) -> None:
            if record.status is JobStatus.SUCCESS:
                raise Interrupted

        pool.add_listener(listener)
        if pool.is_main():
            pool.queue_many(give, zip(range(50)))
            pool.queue_many(doubled, [(np.full(LARGE, 1.0),)] * 5)
        pool.execute()


def left_before_executing(n: int) -> None:
    with ends_with(Interrupted), opened() as pool:
        if pool.is_main():
            pool.queue_many(give, zip(range(5)))
            raise Interrupted
        pool.execute()


def never_executed(n: int) -> None:
    with opened() as pool:
        if pool.is_main():
            pool.queue_many(give, zip(range(5)))


def unscheduled(n: int) -> None:
    def plan(node: int) -> None:
        pool.submit(give, node)
        if node == 2:
            raise ValueError(node)

    with ends_with(WorkflowError), opened() as pool:
        if pool.is_main():
            pool.schedule(range(5), plan)
        try:
            pool.execute()
        finally:
            assert count_of(pool.jobs) in ({"success": 5}, {})


KINDS: list[Callable[[int], None]] = [
    plain, graph, closures, arrays, cached, own_kinds, nested, called_back, listened_to, scheduled,
    of_a_communicator, failing, handled, failing_fast, cancelling, told_to_end,
    left_before_executing, never_executed, unscheduled,
]  # fmt: skip
