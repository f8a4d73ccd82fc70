"""The errors of the other ranks when rank 0 ends a run or dies, and how they are printed.

Rank 0 raises the error that ended the run. The other ranks raise a `WorkflowError` as well, so that
a program can handle the end of the run in the same way on all ranks. If it is not caught there, it
is printed as one line: its traceback does not show the cause, and would hide that of rank 0.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TypeVar
from weakref import WeakKeyDictionary

from bsbpool import exceptions

Error = TypeVar("Error", bound=BaseException)

_lines: WeakKeyDictionary[BaseException, str] = WeakKeyDictionary()
"""The errors that are printed as one line, and these lines."""


def early_end_error(rank: int) -> exceptions.WorkflowError:
    """Return the error of a rank other than 0 when rank 0 has ended the run early."""
    error = exceptions.WorkflowError(
        "Unhandled exceptions during parallel execution.",
        [exceptions.JobPoolError("See main node logs for details.")],
    )
    reason = "an error on rank 0 ended the run. See the output of rank 0."
    return printed_as(error, f"bsbpool: rank {rank} stops: {reason}")


def main_lost_error(rank: int, main: int) -> exceptions.WorkerLostError:
    """Return the error of a rank when the main rank has died."""
    error = exceptions.WorkerLostError(f"rank {main}, which schedules the jobs, has died", main)
    return printed_as(error, f"bsbpool: rank {rank} stops: {error}.")


def printed_as(error: Error, line: str) -> Error:
    """Print an error as one line if the program does not catch it; return the error.

    The first call sets `sys.excepthook`, unless the program has set one itself.
    """
    _lines[error] = line
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_uncaught
    return error


def _print_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    # Errors of other classes may have no hash.
    is_ours = isinstance(error, (exceptions.WorkflowError, exceptions.WorkerLostError))
    line = _lines.get(error) if is_ours else None
    if line is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(line, file=sys.stderr, flush=True)
