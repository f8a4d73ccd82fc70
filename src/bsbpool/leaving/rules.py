"""When and how a run leaves in time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeavingRules:
    """When and how a run leaves, as the settings of the pool say.

    Attributes
    ----------
    deadline : float
        When the run must have ended, as `time.time` returns it; infinite without a deadline.
    grace : float
        The seconds that running jobs have after a signal.
    """

    deadline: float
    grace: float
