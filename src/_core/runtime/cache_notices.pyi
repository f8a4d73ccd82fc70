from bsbpool._core.runtime.outbox import Outbox
from bsbpool._core.scheduling.engine import Engine

class CacheNotices:
    def __init__(self, engine: Engine, outbox: Outbox) -> None: ...
