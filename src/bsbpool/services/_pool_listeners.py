"""The listeners under their names in `bsb.services._pool_listeners`.

bsb-core uses one of two listeners, depending on whether standard output is a terminal. Both choose
the display that suits this process by themselves.
"""

from __future__ import annotations

from bsbpool.listeners.base import Listener
from bsbpool.listeners.default import DefaultListener
from bsbpool.listeners.tally import JobTally, PoolTally

__all__ = ["JobTally", "Listener", "NonTTYTerminalListener", "PoolTally", "TTYTerminalListener"]


class NonTTYTerminalListener(DefaultListener):
    """Shows the progress of a pool."""


class TTYTerminalListener(DefaultListener):
    """Shows the progress of a pool.

    Parameters
    ----------
    fps : float
        Ignored: the display has a rate of its own.
    """

    def __init__(self, fps: float = 25) -> None:
        super().__init__()
