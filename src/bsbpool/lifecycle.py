"""The errors of calls that the present state of a pool does not allow."""

from __future__ import annotations

import warnings

from bsbpool import exceptions
from bsbpool._typing import NoReturn
from bsbpool.naming import add_note
from bsbpool.status import PoolState

_OVER = {
    PoolState.EXECUTED: "This pool has already been executed; open a new pool for more jobs.",
    PoolState.CLOSED: "This pool's `with` block has ended; open a new pool for more jobs.",
}


def queue_error(state: PoolState) -> exceptions.JobPoolError:
    """Return the error of a job that is queued when the pool takes no more jobs."""
    return exceptions.JobPoolError(_OVER.get(state, _OVER[PoolState.EXECUTED]))


def refuse_enter() -> NoReturn:
    """Report that the ``with`` block cannot begin, since it has begun before."""
    raise exceptions.JobPoolContextError(
        "This pool has already been entered; make a new pool for another `with` block."
    )


def refuse_execute(state: PoolState, in_scheduler: bool) -> NoReturn:
    """Report that the pool cannot be executed now.

    Parameters
    ----------
    state : PoolState
        The state of the pool.
    in_scheduler : bool
        Whether a scheduler thread of the pool asks for it.
    """
    if state is PoolState.EXECUTING:
        raise exceptions.JobPoolContextError(
            "This pool is executing; call execute() once, and not in a job, callback or listener."
        )
    if in_scheduler:
        raise exceptions.JobPoolContextError(
            "A scheduler cannot execute its pool; call execute() in the `with` block."
        )
    if state is PoolState.NEW:
        raise exceptions.JobPoolContextError(
            "The pool must be entered first: use `with create_job_pool() as pool:`."
        )
    raise exceptions.JobPoolContextError(_OVER[state])


def warn_not_run(n_jobs: int) -> None:
    """Warn that a pool was closed without `execute`, so that some jobs did not run."""
    warnings.warn(
        f"The `with` block of this pool ended without pool.execute(), so {n_jobs:,} "
        f"queued job{'s' * (n_jobs > 1)} did not run.",
        RuntimeWarning,
        stacklevel=3,
    )


def refuse_exit(state: PoolState, error: BaseException | None) -> None:
    """Report that the ``with`` block cannot end now.

    Parameters
    ----------
    state : PoolState
        The state of the pool.
    error : BaseException or None
        The error that leaves the block; it gets a note. Without one JobPoolContextError is raised.
    """
    if state is PoolState.NEW:
        reason = "The `with` block of this pool has not begun."
    elif state is PoolState.CLOSED:
        reason = "The `with` block of this pool has already ended."
    elif state is PoolState.EXECUTING:
        reason = "The `with` block of a pool cannot end before pool.execute() has returned."
    else:
        reason = "A scheduler cannot end the `with` block of its pool."
    if error is None:
        raise exceptions.JobPoolContextError(reason)
    add_note(error, reason)
