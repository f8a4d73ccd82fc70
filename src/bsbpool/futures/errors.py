"""The errors of executors."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import Any

from bsbpool import exceptions
from bsbpool.dependency_failures import cancelled_by, cancelled_like
from bsbpool.status import JobStatus


class InitializerError(BrokenExecutor):
    """The initializer of an executor failed on a worker, so the executor runs no more calls."""


class BrokenPoolError(BrokenExecutor):
    """The pool of an executor ended before the executor was shut down; see the cause."""


def dependency_error(dep: Future[Any]) -> exceptions.JobCancelledError | None:
    """Return the error of a call that depends on a future; None when the future has a result.

    A future that is not done is being cancelled by another thread.
    """
    if dep.cancelled() or not dep.done():
        return cancelled_by(CancelledError(), "a call", JobStatus.CANCELLED)
    error = dep.exception()
    if error is None:
        return None
    if isinstance(error, exceptions.JobCancelledError):
        return cancelled_like(error)
    cause = error.__cause__
    name = cause.job if isinstance(cause, exceptions.WorkerTraceback) else "a call"
    return cancelled_by(error, name)
