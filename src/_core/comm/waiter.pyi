from bsbpool._core.comm.demux import Demux
from bsbpool._core.comm.wakeup import Wakeup

class Waiter:
    def __init__(self, demux: Demux, wakeup: Wakeup | None, crowded: bool) -> None: ...
