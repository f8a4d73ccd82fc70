"""Decides whether a job that has failed runs again, and records its attempts."""

from __future__ import annotations

from typing import Any, NamedTuple

from bsbpool import exceptions
from bsbpool._core.scheduling.engine import Engine
from bsbpool._core.scheduling.engine_options import EngineOptions
from bsbpool.naming import add_note
from bsbpool.option_checks import RetryOn
from bsbpool.status import FINISHED
from bsbpool.worker_ranks import rank_of, worker_of


class Attempt(NamedTuple):
    """An attempt of a job that failed, and after which the job ran again.

    Attributes
    ----------
    rank : int
        The rank that ran the job.
    error : BaseException
        The error of the job, or a WorkerLostError if the rank died.
    """

    rank: int
    error: BaseException


def may_retry(engine: Engine, job: Any, error: BaseException, n_ranks: int = 1) -> bool:
    """Return whether a job that failed with `error` may run again."""
    if job.options is None or isinstance(error, exceptions.JobCancelledError):
        return False
    if isinstance(error, exceptions.UnmetDependency) and job.options.requires:
        return _moves_elsewhere(engine, job, n_ranks)
    if not EngineOptions(engine).retries_left(job.number):
        return False
    return _matches(job.options.retry_on, error)


def may_retry_lost(engine: Engine, job: Any) -> bool:
    """Return whether a job whose rank has died may run again."""
    if job.options is None:
        return False
    return EngineOptions(engine).retries_left(job.number, lost=True) > 0


def last_rank(engine: Engine, job: Any, n_ranks: int) -> int:
    """Return the rank to which a job was sent last."""
    worker = EngineOptions(engine).last_worker(job.number)
    return 0 if worker is None else rank_of(worker, n_ranks)


def record_attempt(job: Any, rank: int, error: BaseException) -> None:
    """Note an attempt that is followed by another one."""
    job.attempts = (*job.attempts, Attempt(rank, error))
    job.call_indirectly()  # so that `current_job` knows the attempt


def runs_again(
    engine: Engine, job: Any, error: BaseException, n_ranks: int, lost: bool
) -> bool:
    """Record an attempt on another rank that failed, if the job runs again; return whether it does.

    Parameters
    ----------
    engine : Engine
        The tables of the pool.
    job : Job
        The job, with options.
    error : BaseException
        Its error.
    n_ranks : int
        The number of ranks.
    lost : bool
        Whether the rank has died.
    """
    if job.status in FINISHED:
        return False
    if not (may_retry_lost(engine, job) if lost else may_retry(engine, job, error, n_ranks)):
        return False
    record_attempt(job, last_rank(engine, job, n_ranks), error)
    return True


def retry_here(engine: Engine, job: Any, error: BaseException) -> bool:
    """Make a job that failed in this process ready again, if it may run again."""
    if not may_retry(engine, job, error) or not EngineOptions(engine).retry(job.number):
        return False
    record_attempt(job, 0, error)
    return True


def _moves_elsewhere(engine: Engine, job: Any, n_ranks: int) -> bool:
    """Let a job run on the ranks where it has not tried; return whether there are such ranks."""
    tables = EngineOptions(engine)
    if not tables.n_workers:
        return False
    tried = {last_rank(engine, job, n_ranks)}
    for attempt in job.attempts:
        if isinstance(attempt.error, exceptions.UnmetDependency):
            tried.add(attempt.rank)
    ranks = job.options.targets or [rank_of(i, n_ranks) for i in range(tables.n_workers)]
    left = [rank for rank in ranks if rank not in tried]
    if not left:
        return False
    targets = tables.add_worker_set(worker_of(rank, n_ranks) for rank in left)
    if not tables.is_possible(targets):
        return False  # those ranks have died
    tables.move(job.number, targets)
    return True


def _matches(retry_on: RetryOn, error: BaseException) -> bool:
    if isinstance(retry_on, (type, tuple)):
        return isinstance(error, retry_on)
    try:
        return bool(retry_on(error))
    except Exception as broken:
        add_note(error, f"The job does not run again, since retry_on raised {broken!r}.")
        return False
