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
        slow: bool = False,
    ) -> None: ...
    def transport(self, rank: int) -> SimulatedTransport: ...
    def doom(
        self, rank: int, step: int = -1, half: int = -1, keep: int = -1, told_after: int = 0
    ) -> None: ...
    # Planted faults
    def discard(self, rank: int) -> bool: ...
    def sabotage(self, hasty: bool = False, disorder: bool = False) -> None: ...
    # Looking
    @property
    def under_way(self) -> int: ...

class SimulatedTransport(Transport):
    def __init__(self, network: SimulatedNetwork, rank: int) -> None: ...
