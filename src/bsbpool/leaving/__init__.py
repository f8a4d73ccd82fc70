"""Leaving in time: a run ends before the batch system ends it, and can be started again.

`deadlines` reads the time at which a run must have ended, `limit` cancels the jobs that cannot end
before that, `signals` leaves when the batch system says so. All ranks then raise `LeftInTime`,
which ends the program with exit code 75 if it is not caught.
"""

from __future__ import annotations

from bsbpool.leaving.exit import EXIT_CODE, LeftInTime

__all__ = ["EXIT_CODE", "LeftInTime"]
