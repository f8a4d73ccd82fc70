"""The conditions of calls that name futures: `after_any`, `on_failure`, `on_end` and `follow`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bsbpool.dependency_failures import MESSAGE
from bsbpool.exceptions import JobCancelledError
from bsbpool.futures.call_options import Special
from bsbpool.futures.errors import dependency_error
from bsbpool.futures.future import PoolFuture

JobOf = Callable[[PoolFuture[Any]], Any]
"""Returns the job of a future; None if it has ended."""


def conditions_of(special: Special, job_of: JobOf) -> dict[str, tuple[Any, ...]] | BaseException:
    """Return the jobs that a call waits for, by option.

    Parameters
    ----------
    special : Special
        The options of the call.
    job_of : callable
        Returns the job of a future; None if it has ended.

    Returns
    -------
    dict or BaseException
        The jobs of futures that have not ended, unless the condition is met already; or the error
        of the call if a condition cannot be met any more.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for name, futures in special.futures.items():
        if name == "follow":
            continue
        jobs = {future: job for future in futures if (job := job_of(future)) is not None}
        ended = [future for future in futures if future not in jobs]
        if name != "on_end" and any(_is_met(name, future) for future in ended):
            continue
        if not jobs and name != "on_end":
            return unmet(name, futures)
        if jobs:
            found[name] = tuple(jobs.values())
    return found


def condition_error(special: Special) -> BaseException | None:
    """Return the error of a call if a condition is not met; all its futures have ended."""
    found = conditions_of(special, lambda future: None)
    return found if isinstance(found, BaseException) else None


def _is_met(name: str, future: PoolFuture[Any]) -> bool:
    if name == "after_any":
        return dependency_error(future) is None
    if future.cancelled() or not future.done():
        return False
    error = future.exception()
    return error is not None and not isinstance(error, JobCancelledError)


def unmet(name: str, futures: tuple[PoolFuture[Any], ...]) -> JobCancelledError:
    """Return the error of a call whose condition cannot be met any more."""
    verb = "succeeded" if name == "after_any" else "failed"
    error = JobCancelledError(MESSAGE)
    error.add_note(f"It should run after one of {len(futures)} calls {verb}, but none did.")
    return error
