from bsbpool._core.comm.membership import Membership
from bsbpool._core.comm.transport import Transport

class Demux:
    @property
    def transport(self) -> Transport: ...
    def __init__(self, transport: Transport, membership: Membership) -> None: ...
