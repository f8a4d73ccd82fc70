"""Predict how a pool uses many ranks, from the real dispatcher and a model of the network.

`simulate` is the function, and ``bsbpool simulate`` the command. docs/scaling.md describes the
model, its calibration and its limits.
"""

from __future__ import annotations

from bsbpool.simulation.costs import Costs
from bsbpool.simulation.model import simulate
from bsbpool.simulation.networks import Network
from bsbpool.simulation.result import SimulationResult

__all__ = ["Costs", "Network", "SimulationResult", "simulate"]
