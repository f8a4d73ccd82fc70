"""What becomes of the replies of workers: results, errors, and attempts that are repeated."""

from __future__ import annotations

import logging
import pickle
from typing import Any

from bsbpool import exceptions
from bsbpool._core.protocol import scalar_codec
from bsbpool._core.protocol.wire import RecordFlag, ReplyFlag
from bsbpool.jobs import Job
from bsbpool.logs import logger
from bsbpool.naming import add_note
from bsbpool.process import is_from_signal
from bsbpool.remote_errors import load_error
from bsbpool.run_context import RunContext
from bsbpool.status import FINISHED

_log = logger("jobs")

OUTCOME_BITS, NO_RESULT = int(ReplyFlag.OUTCOME_BITS), int(ReplyFlag.NO_RESULT)
SCALARS = int(RecordFlag.SCALARS)


class ReplyCallbacks:
    """The callbacks of the loop of the main rank that store outcomes of jobs.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def store_reply(
        self, number: int, flags: int, payload: Any, buffers: list[Any], seconds: float
    ) -> bool:
        """Record the error of a job, unless it was cancelled meanwhile; True if it runs again."""
        if flags & OUTCOME_BITS:
            return False
        job = self._context.jobs[number]
        if not job.in_pool:
            return False  # it was cancelled and released
        error = _error_of(job, payload, buffers)
        if self._runs_again(job, error):
            return True
        self._fail(job, error)
        return False

    def _runs_again(self, job: Job[Any], error: BaseException, lost: bool = False) -> bool:
        """Record an attempt that failed if the job runs again; return whether it does."""
        if job.options is None:
            return False
        from bsbpool.retries import runs_again

        context = self._context
        with context.lock:
            again = runs_again(context.engine, job, error, context.comm.get_size(), lost)
        if again and not lost and context.on_attempt is not None:
            context.on_attempt(job, error)
        return again

    def refuse_job(self, number: int) -> None:
        """Record that no rank is left that may run a job."""
        job = self._context.jobs[number]
        self._fail(
            job,
            exceptions.WorkerLostError(
                f"no rank can run {job.label}: those that its options `targets`, `follow` and "
                "`resources` allow have died, or there is none that all three allow",
                job=job,
            ),
        )

    def result_unreadable(self, number: int, error: BaseException) -> None:
        """Record that the result of a job cannot be unpickled, as the error of the job."""
        if is_from_signal(error):
            raise error
        job = self._context.jobs[number]
        add_note(error, f"The result of {job.label} cannot be unpickled on this rank.")
        self._fail(job, error)

    def _fail(self, job: Job[Any], error: BaseException) -> None:
        with self._context.lock:  # so that the job is not cancelled in between
            if job.status not in FINISHED:
                self._context.events.job_failed(job, error)

    # Jobs on several ranks

    def gang_started(self, number: int, ranks: tuple[int, ...]) -> bool:
        """Note the ranks that run a job; return whether the results of all are wanted."""
        job = self._context.jobs[number]
        self._context.ranks_of_jobs[number] = ranks
        if _log.isEnabledFor(logging.DEBUG):  # the label is made on request
            _log.debug("%s runs on the ranks %s", job.label, list(ranks))
        return job.options is not None and job.options.gather

    def store_gathered(self, number: int, parts: list[tuple[int, Any, list[Any]]]) -> bool:
        """Store the results of all ranks of a job; return False if one cannot be unpickled."""
        job = self._context.jobs[number]
        if not job.in_pool:
            return True  # it was cancelled and released
        try:
            job.set_outcome(self._context.kept([_load_part(*part) for part in parts]))
        except BaseException as error:
            self.result_unreadable(number, error)
            return False
        return True

    def gang_stuck(self, number: int, ranks: list[int], retries: bool) -> None:
        """Record that ranks do not leave a job that has failed on another rank of it."""
        job = self._context.jobs[number]
        if not job.in_pool or job.status in FINISHED:
            return
        _log.warning(
            "%s has failed, but the ranks %s have not left it, perhaps because they wait inside "
            "MPI; they get no jobs until they do",
            job.label,
            ranks,
        )
        if retries:  # the attempt was recorded in place of the error
            *before, last = job.attempts
            job.attempts = tuple(before)
            self._fail(job, last.error)


def _load_part(flags: int, payload: Any, buffers: list[Any]) -> Any:
    if flags & NO_RESULT:
        return None
    if flags & SCALARS:
        return scalar_codec.loads(payload)
    return pickle.loads(payload, buffers=buffers)


def _error_of(job: Job[Any], payload: Any, buffers: list[Any]) -> BaseException:
    try:
        return load_error(payload, buffers, job.label)
    except BaseException as broken:
        if is_from_signal(broken):
            raise
        error = exceptions.RemoteError(
            f"{job.label} failed with an error that cannot be unpickled on rank 0"
        )
        error.__cause__ = broken
        return error
