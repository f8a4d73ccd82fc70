from bsbpool._core.baton import Relay
from bsbpool._core.transport import Transport

class VirtualNetwork(Relay):
    def __init__(
        self,
        n: int,
        seed: int,
        latency: int = 2_000,
        preempt: int = 0,
        bells: bool = False,
        slow: bool = False,
    ) -> None: ...
    def transport(self, rank: int) -> VirtualTransport: ...
    def doom(
        self, rank: int, step: int = -1, half: int = -1, keep: int = -1, told_after: int = 0
    ) -> None: ...
    # Planted faults
    def discard(self, rank: int) -> bool: ...
    def sabotage(self, hasty: bool = False, disorder: bool = False) -> None: ...
    # Looking
    @property
    def under_way(self) -> int: ...

class VirtualTransport(Transport):
    def __init__(self, network: VirtualNetwork, rank: int) -> None: ...
