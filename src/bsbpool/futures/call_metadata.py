"""The metadata of calls that have ended, or have not reached a pool."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from bsbpool.metadata import JobMetadata
from bsbpool.status import JobStatus


def metadata_of_call(future: Future[Any], number: int, name: str) -> JobMetadata:
    """Return what is known without times; `number` is -1 if the call was in no pool."""
    error = None if not future.done() or future.cancelled() else future.exception()
    status = _status_of(future, error)
    return JobMetadata(
        number=None if number < 0 else number,
        name=name,
        status=status,
        submitted=None,
        started=None,
        completed=None,
        received=None,
        run_time=None,
        rank=None,
        ranks=None,
        host=None,
        attempts=int(status in (JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.RUNNING)),
        bytes_in=None,
        bytes_out=None,
        error=None if error is None else f"{type(error).__name__}: {error}",
        output=None,
    )


def _status_of(future: Future[Any], error: BaseException | None) -> JobStatus:
    if future.cancelled():
        return JobStatus.CANCELLED
    if future.done():
        return JobStatus.SUCCESS if error is None else JobStatus.FAILED
    return JobStatus.RUNNING if future.running() else JobStatus.PENDING
