"""A note for calls that failed because the function has no parameter for the owner."""

from __future__ import annotations

from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool._typing import Any
from bsbpool.naming import add_note

CALLERS = frozenset(["bsbpool._core.jobs.invoke", "bsbpool.process", "bsbpool.function_job"])
"""The modules that call functions of jobs."""


def note_signature(error: BaseException, owner: Any) -> None:
    """Note that functions get the owner as first argument, if the call itself raised a TypeError.

    Parameters
    ----------
    error : BaseException
        The error of the call.
    owner : object
        The first argument of the call; `NO_OWNER` if there was none.
    """
    if owner is not NO_OWNER and isinstance(error, TypeError) and _is_of_the_call(error):
        add_note(error, "Job functions receive the pool's owner as first argument: f(owner, ...).")


def _is_of_the_call(error: BaseException) -> bool:
    """Whether the traceback ends where the function is called, and has no frame of the function."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is not None and step.tb_frame.f_globals.get("__name__") in CALLERS
