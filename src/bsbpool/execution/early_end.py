"""The error of the other ranks when a run ends early, and how it is printed.

Rank 0 raises the error that ended the run. The other ranks raise a `WorkflowError` as well, so that
a program can handle the end of the run in the same way on all ranks. If it is not caught there, it
is printed as one line: its traceback does not show the cause, and would hide that of rank 0.
"""

from __future__ import annotations

import sys
from types import TracebackType
from weakref import WeakKeyDictionary

from bsbpool import exceptions

_ranks: WeakKeyDictionary[BaseException, int] = WeakKeyDictionary()
"""The errors that `early_end_error` made, and the ranks that raise them."""


def early_end_error(rank: int) -> exceptions.WorkflowError:
    """Return the error of a rank other than 0 when rank 0 has ended the run early.

    The first call sets `sys.excepthook`, which then prints such errors as one line each, unless
    the program has set an `excepthook` itself.
    """
    error = exceptions.WorkflowError(
        "Unhandled exceptions during parallel execution.",
        [exceptions.JobPoolError("See main node logs for details.")],
    )
    _ranks[error] = rank
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_uncaught
    return error


def _print_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    rank = _ranks.get(error) if isinstance(error, exceptions.WorkflowError) else None
    if rank is None:
        sys.__excepthook__(kind, error, traceback)
        return
    print(
        f"bsbpool: rank {rank} stops: an error on rank 0 ended the run. See the output of rank 0.",
        file=sys.stderr,
        flush=True,
    )
