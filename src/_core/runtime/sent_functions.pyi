from bsbpool._core.runtime.callbacks import LoopCallbacks
from bsbpool._core.runtime.outbox import Outbox

class Holders: ...

class SentFunctions:
    def __init__(self, outbox: Outbox, callbacks: LoopCallbacks) -> None: ...
