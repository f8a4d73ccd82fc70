"""The loggers of this package, below ``bsbpool``; their records have a rank and a host.

The setting BSBPOOL_LOG is read when this module is imported. That happens when `logging` is
imported already or BSBPOOL_LOG is set (see `process.logs_if_used`): otherwise nobody reads what a
pool logs, and a first pool does not import `logging`.
"""

from __future__ import annotations

import logging
import os
import sys

SETTING = "BSBPOOL_LOG"
FORMAT = (
    "%(asctime)s.%(msecs)03d rank %(rank)s on %(host)s %(levelname)s %(name)s: %(message)s"
)
_LEVELS = "debug", "info", "warning", "error", "critical"
_HOST = os.uname().nodename


def logger(subject: str) -> logging.Logger:
    """Return the logger of a subject.

    Parameters
    ----------
    subject : str
        "runs", "jobs", "workers", "executors", "results" or "timers".
    """
    log = logging.getLogger(f"bsbpool.{subject}")
    log.addFilter(_add_place)  # records pass the filters of their own logger only
    return log


def debug_logger(subject: str) -> logging.Logger | None:
    """Return a logger if it logs the level DEBUG, else None."""
    log = logger(subject)
    return log if log.isEnabledFor(logging.DEBUG) else None


def _add_place(record: logging.LogRecord) -> bool:
    record.rank, record.host = _ranks.current(), _HOST
    return True


class _Ranks:
    """The rank of this process in COMM_WORLD, which is known once mpi4py has initialised MPI."""

    def __init__(self) -> None:
        self._known: int | None = None

    def current(self) -> int:
        if self._known is None:
            MPI = sys.modules.get("mpi4py.MPI")
            if MPI is None or not MPI.Is_initialized() or MPI.Is_finalized():
                return 0
            self._known = MPI.COMM_WORLD.Get_rank()
        return self._known


_ranks = _Ranks()


class StandardErrorHandler(logging.Handler):
    """Prints records on stderr, unless the program handles all records itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        if logging.getLogger().handlers:
            return
        try:
            # One write for each line, so that those of several ranks do not mix.
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def _apply_setting(value: str) -> None:
    """Show the records from a level on.

    Raises
    ------
    ValueError
        If the value is not a level.
    """
    if not value:
        return
    if value.lower() not in _LEVELS:
        levels = ", ".join(_LEVELS)
        raise ValueError(f"{SETTING} is {value!r}; set it to one of {levels}, or unset it")
    log = logging.getLogger("bsbpool")
    log.setLevel(value.upper())
    handler = StandardErrorHandler()
    handler.setFormatter(logging.Formatter(FORMAT, "%H:%M:%S"))
    log.addHandler(handler)


_apply_setting(os.environ.get(SETTING, ""))
