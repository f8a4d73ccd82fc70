"""The listeners under their names in `bsb.services._pool_listeners`."""

from __future__ import annotations

from bsbpool.listeners.base import Listener
from bsbpool.listeners.tally import JobTally, PoolTally
from bsbpool.listeners.terminal import NonTTYTerminalListener, TTYTerminalListener

__all__ = ["JobTally", "Listener", "NonTTYTerminalListener", "PoolTally", "TTYTerminalListener"]
