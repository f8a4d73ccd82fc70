from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.protocol.frames import FrameReader
from bsbpool._core.runtime.callbacks import LoopCallbacks
from bsbpool._core.scheduling.engine import Engine

class ReplyReader:
    def __init__(
        self, engine: Engine, callbacks: LoopCallbacks, jobs: Submitter | None, reader: FrameReader
    ) -> None: ...
