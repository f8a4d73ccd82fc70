from collections.abc import Mapping

from bsbpool._core.comm.transport import Transport
from bsbpool._core.comm.wakeup import Wakeup

class RelayTransport(Transport):
    base: Transport
    rank: int
    is_leader: bool
    def __init__(self, base: Transport, rank: int, wakeup: Wakeup | None = ...) -> None: ...
    @property
    def relay_partners(self) -> set[int]: ...
    def set_leaders(self, leaders: Mapping[int, int]) -> None: ...
    def leader_of(self, worker: int) -> int | None: ...
