from bsbpool._core.comm.channel import Channel

class DataStore:
    def __init__(self, channel: Channel, run_id: int) -> None: ...
