from bsbpool._core.comm.transport import Transport
from bsbpool._core.testing.deterministic_scheduler import TurnScheduler

class SimulatedNetwork(TurnScheduler):
    def __init__(
        self,
        n: int,
        seed: int,
        latency: int = 2_000,
        preempt: int = 0,
        wakeup: bool = False,
        slow_sends: bool = False,
    ) -> None: ...
    def transport(self, rank: int) -> SimulatedTransport: ...
    def plan_death(
        self,
        rank: int,
        step: int = -1,
        part_message: int = -1,
        n_delivered: int = -1,
        report_delay: int = 0,
    ) -> None: ...
    # Faults
    def lose_message(self, rank: int) -> bool: ...
    def inject_faults(self, reports_early: bool = False, reorders: bool = False) -> None: ...
    # State
    @property
    def n_in_flight(self) -> int: ...

class SimulatedTransport(Transport):
    def __init__(self, network: SimulatedNetwork, rank: int) -> None: ...
