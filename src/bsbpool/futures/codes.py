"""Numbers that the main rank and the workers of an executor exchange."""

from __future__ import annotations

PRELUDE, UNIT, SCRIPT_CALL = 2, 3, 4
"""Modes of functions, beside those of `execution.functions`: the prelude of an executor, a unit of
the script's globals, and a function that uses such units."""

PRELUDE_NUMBER = 0xFFFF_FFFF
"""The function number of the prelude, which holds the initializer and the search path."""

NEXT_POOL, EXECUTOR_CLOSED, PROGRAM_ENDED = 0, 1, 2
"""Stop codes at the end of a pool: another pool of the executor follows, the executor was shut
down, or the program has ended. The exit code of the program is added to the last one."""
