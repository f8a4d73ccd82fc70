"""Jobs among the arguments of a job, which are its dependencies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from bsbpool import exceptions
from bsbpool._core.jobs.handle import DataRef
from bsbpool._core.jobs.inputs import inputs_of
from bsbpool.jobs import Job
from bsbpool.naming import brief


def with_inputs(pool: object, job: Job[Any], deps: Iterable[Job[Any]] | None) -> tuple[Any, ...]:
    """Return the dependencies of a job together with the jobs among its arguments.

    Raises
    ------
    TypeError, JobPoolError
        When a future, or a job that is not in `pool`, is among the arguments.
    """
    inputs = inputs_of(*job.own_arguments)
    jobs = [item for item in dict.fromkeys(inputs) if not isinstance(item, DataRef)]
    for item in jobs:
        _check(item, pool)
    return (*(deps or ()), *jobs)


def refuse_job(job: Any, pool: object) -> NoReturn:
    """Raise: an object cannot be queued with `put`."""
    if not isinstance(job, Job):
        raise TypeError(f"job must be a Job, got {brief(job)}; use queue() for a function")
    if not job.belongs_to(pool):
        raise exceptions.JobPoolError(
            f"{job.label} was made for another pool; make a new job with this pool"
        )
    raise exceptions.JobPoolError(f"{job.label} is already in this pool; make a new job")


def refuse_dependency(deps: object, item: object, inside: bool) -> NoReturn:
    """Raise: `deps` or, if `inside`, its member `item` is not what `queue` accepts."""
    if not inside:
        raise TypeError(f"deps must be a list of jobs, got {brief(deps)}; use deps=[job]")
    if not isinstance(item, Job):
        raise TypeError(f"deps must contain jobs as returned by queue(), got {brief(item)}")
    raise exceptions.JobPoolError(
        f"deps contains {item.label}, which is not in this pool; queue it here, or execute its "
        "pool first and leave it out"
    )


def _check(item: object, pool: object) -> None:
    if not isinstance(item, Job):
        raise TypeError(
            f"an argument is or contains {brief(item)}. A future stands for its result only in "
            "calls of its executor; wait until it has ended and pass future.result()"
        )
    if not item.belongs_to(pool) or item.number is None:
        raise exceptions.JobPoolError(
            f"an argument is or contains {item.label}, which is not in this pool; queue it here, "
            "or execute its pool first and pass job.result"
        )
