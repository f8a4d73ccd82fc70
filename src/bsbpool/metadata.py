"""When and where jobs ran."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bsbpool._core.jobs.job_times import JobTimes
from bsbpool.status import JobStatus


@dataclasses.dataclass(frozen=True)
class JobMetadata(Mapping[str, Any]):
    """What is known of a job and its run; the attributes are also the items of a mapping.

    Times are in seconds, as `time.time` counts them, on the clock of the main rank. They,
    the sizes and the rank are None unless the pool was made with ``timestamps=True``.

    Attributes
    ----------
    number : int or None
        The number of the job.
    name : str
        Its name, see `Job.name`.
    status : JobStatus
        Its status.
    submitted : float or None
        When it was queued.
    started, completed : float or None
        When its function began and ended. The clocks of ranks on other nodes are estimated from
        their messages, see `PoolStatistics.clock_offsets`.
    received : float or None
        When the main rank had its result.
    run_time : float or None
        The seconds that its function took.
    rank : int or None
        The rank that ran it last.
    ranks : tuple of int or None
        The ranks that ran it at one time, with the option `ranks`. Then the times, the rank and the
        sizes are those of the first one.
    host : str or None
        The host of that rank.
    attempts : int
        How often it ran to an end; more than once with `retries`.
    bytes_in, bytes_out : int or None
        The size of its arguments and of its result as sent; 0 in a run of one process.
    error : str or None
        The text of its error.
    output : object
        What it wrote, with the option `capture_output`.
    """

    number: int | None
    name: str
    status: JobStatus
    submitted: float | None
    started: float | None
    completed: float | None
    received: float | None
    run_time: float | None
    rank: int | None
    ranks: tuple[int, ...] | None
    host: str | None
    attempts: int
    bytes_in: int | None
    bytes_out: int | None
    error: str | None
    output: Any

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)


_RAN = (JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.ABORTED)


def metadata_of(
    job: Any,
    times: JobTimes | None,
    hosts: Sequence[str],
    ranks: tuple[int, ...] | None = None,
) -> JobMetadata:
    """Return the metadata of a job.

    Parameters
    ----------
    job : Job
        The job.
    times : JobTimes or None
        The times of its pool.
    hosts : sequence of str
        The host of each rank; empty for this process alone.
    ranks : tuple of int, optional
        The ranks of a job that ran on several ones.
    """
    status = job.status
    error = job.error
    known: dict[str, Any] = dict.fromkeys(
        ["submitted", "started", "completed", "received", "run_time", "rank", "host",
         "bytes_in", "bytes_out"]
    )  # fmt: skip
    attempts = 0
    if times is not None and job.number is not None:
        entry = times.entry(job.number)
        submitted, started, received, run_ns, bytes_in, bytes_out, rank, attempts = entry
        known["submitted"] = _seconds(submitted)
        if rank >= 0:
            known |= {
                "started": _seconds(started),
                "completed": _seconds(started + run_ns),
                "received": _seconds(received),
                "run_time": run_ns * 1e-9,
                "rank": rank % len(hosts) if hosts else rank,
                "host": hosts[rank % len(hosts)] if hosts else platform.node(),
                "bytes_in": bytes_in,
                "bytes_out": bytes_out,
            }
    return JobMetadata(
        number=job.number,
        name=job.name,
        status=status,
        ranks=ranks,
        attempts=max(attempts, len(job.attempts) + (status in _RAN)),
        error=None if error is None else f"{type(error).__name__}: {error}",
        output=getattr(job, "output", None),
        **known,
    )


def _seconds(ns: int) -> float | None:
    """Return a time of the main rank's monotonic clock as one of `time.time`."""
    return None if ns == 0 else ns * 1e-9 + _CLOCK_OFFSET


_CLOCK_OFFSET = time.time() - JobTimes.now() * 1e-9
"""The difference of the two clocks, measured once, so that times of one process compare."""
