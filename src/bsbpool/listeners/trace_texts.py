"""The texts of jobs in traces."""

from __future__ import annotations

import json
from typing import Any

from bsbpool.exceptions import WorkerLostError
from bsbpool.jobs import Job
from bsbpool.naming import error_text, kind_of, without_addresses
from bsbpool.status import JobStatus

LONGEST_ERROR = 500
"""The number of characters of an error that are kept."""


def name_member(job: Job[Any]) -> bytes:
    """Return the name of the slice of a job as JSON."""
    return json.dumps(kind_of(job)).encode()


def further_members(job: Job[Any], ended: int) -> bytes:
    """Return what few slices have, as JSON members after others; `ended` attempts have ended."""
    args: dict[str, Any] = {"label": job.label}
    if job.attempts:
        args["attempts"] = len(job.attempts) + 1
        args["attempt"] = _number_of_attempt(job, ended)
    if job.status is not JobStatus.SUCCESS:
        args |= {"status": job.status.value, "error": error_of(job)}
    return _members(args)


def attempt_members(job: Job[Any], ended: int) -> bytes:
    """Return the further members of the slice of an attempt after which the job ran again."""
    number = _number_of_attempt(job, ended)
    args: dict[str, Any] = {"attempt": number, "status": JobStatus.FAILED.value}
    if number <= len(job.attempts):
        args["error"] = short_error(job.attempts[number - 1].error)
    return _members(args)


def _number_of_attempt(job: Job[Any], ended: int) -> int:
    """Return the number of the attempt that ended as so manieth: those of lost ranks did not."""
    for number, attempt in enumerate(job.attempts, 1):
        ended -= not isinstance(attempt.error, WorkerLostError)
        if ended == 0:
            return number
    return len(job.attempts) + 1


def _members(args: dict[str, Any]) -> bytes:
    return f",{json.dumps(args, separators=(',', ':'))[1:-1]}".encode()


def error_of(job: Job[Any]) -> str:
    """Return the type and the message of the error of a job, shortened; empty without one."""
    return "" if job.error is None else short_error(job.error)


def short_error(error: BaseException) -> str:
    """Return the type and the message of an error, shortened."""
    text = without_addresses(error_text(error))
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 3]}..."
