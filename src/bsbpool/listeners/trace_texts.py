"""The texts of jobs in traces."""

from __future__ import annotations

import json
from typing import Any

from bsbpool.jobs import Job
from bsbpool.naming import error_text, kind_of, without_addresses
from bsbpool.status import JobStatus

LONGEST_ERROR = 500
"""The number of characters of an error that are kept."""


def name_member(job: Job[Any]) -> bytes:
    """Return the name of the slice of a job as JSON."""
    return json.dumps(kind_of(job)).encode()


def further_members(job: Job[Any], attempts: int) -> bytes:
    """Return what few slices have, as JSON members after others."""
    args: dict[str, Any] = {"label": job.label}
    if attempts > 1:
        args["attempts"] = attempts
    if job.status is not JobStatus.SUCCESS:
        args |= {"status": job.status.value, "error": error_of(job)}
    return f",{json.dumps(args, separators=(',', ':'))[1:-1]}".encode()


def error_of(job: Job[Any]) -> str:
    """Return the type and the message of the error of a job, shortened; empty without one."""
    if job.error is None:
        return ""
    text = without_addresses(error_text(job.error))
    return text if len(text) <= LONGEST_ERROR else f"{text[: LONGEST_ERROR - 3]}..."
