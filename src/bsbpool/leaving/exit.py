"""How a program ends that has left in time."""

from __future__ import annotations

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: a temporary failure, the command can be run again."""


class LeftInTime(SystemExit):
    """A run ended early because of its deadline, or since the batch system asked for it.

    `JobPool.execute` raises it on all ranks of a pool with the setting `deadline` or `grace`. If it
    is not caught, the program ends with exit code 75.

    Parameters
    ----------
    reason : str
        Why the run ended.
    n_left : int
        The number of jobs that did not end. On ranks other than 0 it is not known, and 0.

    Attributes
    ----------
    code : int
        The exit code, 75.
    reason : str
        As above.
    n_left : int
        As above.
    """

    def __init__(self, reason: str = "", n_left: int = 0) -> None:
        super().__init__(EXIT_CODE)
        self.reason = reason
        self.n_left = n_left

    def __str__(self) -> str:
        return self.reason
