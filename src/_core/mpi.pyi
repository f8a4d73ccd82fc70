from bsbpool._core.transport import Transport

class MPITransport(Transport):
    rank: int
    size: int
    node_size: int

    def __init__(self, fcomm: int, piece: int = ...) -> None: ...
    def free(self) -> None: ...
