"""The time at which a run must have ended, as users and batch systems state it."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping

from bsbpool import arguments
from bsbpool._typing import Any

MARGIN = 30.0
"""Seconds before the end of a batch job at which "slurm" and "pbs" end the run."""
ALLOWED = "a number of seconds, a datetime, 'slurm', 'pbs' or None"


def end_of(deadline: Any, environ: Mapping[str, str] = os.environ) -> float:
    """Return when a run must have ended, as `time.time` returns it.

    Parameters
    ----------
    deadline : float, datetime or str
        Seconds from now; a time, which is local time if it has no time zone; or "slurm" or "pbs":
        30 s before the end of the batch job.
    environ : mapping of str to str
        The environment variables.

    Raises
    ------
    TypeError, ValueError
        If the deadline is none of these, or the batch system does not say when the job ends.
    """
    if isinstance(deadline, datetime.datetime):
        return deadline.timestamp()
    if isinstance(deadline, str):
        if deadline not in _ENDS:
            raise ValueError(f"deadline must be {ALLOWED}, got {deadline!r}")
        return _ENDS[deadline](environ) - MARGIN
    seconds = arguments.seconds("deadline", deadline, ALLOWED)
    if seconds == 0:
        raise ValueError("deadline must be more than 0 seconds from now, got 0")
    return time.time() + seconds


def _end_in_slurm(environ: Mapping[str, str]) -> float:
    text = environ.get("SLURM_JOB_END_TIME", "")
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            "deadline is 'slurm', but SLURM_JOB_END_TIME, which newer versions of Slurm set to the "
            f"end of the job in seconds since 1970, is {text!r}. In the job script, use: export "
            "SLURM_JOB_END_TIME=$(date -d $(squeue -h -j $SLURM_JOB_ID -o %e) +%s)"
        ) from None


def _end_in_pbs(environ: Mapping[str, str]) -> float:
    text = environ.get("PBS_WALLTIME", "")
    try:
        return process_start() + float(text)
    except ValueError:
        raise ValueError(
            "deadline is 'pbs', but PBS_WALLTIME, the seconds that the job may take, is "
            f"{text!r}. Some versions of PBS do not set it; in the job script, use: export "
            "PBS_WALLTIME=3600"
        ) from None


def process_start() -> float:
    """Return when this process began, as `time.time` returns it; now where Linux is not used."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime") as file:
            uptime = float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


_ENDS = {"slurm": _end_in_slurm, "pbs": _end_in_pbs}
