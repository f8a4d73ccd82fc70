"""The listeners under the names that `bsb.services._pool_listeners` gives them."""

from __future__ import annotations

from bsbpool.listeners.base import Listener
from bsbpool.listeners.tally import JobTally, PoolTally
from bsbpool.listeners.terminal import NonTTYTerminalListener, TTYTerminalListener

__all__ = ["JobTally", "Listener", "NonTTYTerminalListener", "PoolTally", "TTYTerminalListener"]
