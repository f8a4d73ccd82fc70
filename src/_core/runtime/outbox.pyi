from bsbpool._core.comm.channel import Channel

class Outbox:
    def __init__(self, channel: Channel, run_id: int, n_workers: int) -> None: ...
