from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.runtime.callbacks import LoopCallbacks
from bsbpool._core.runtime.outbox import Outbox
from bsbpool._core.scheduling.engine import Engine

class JobSender:
    def __init__(
        self, engine: Engine, outbox: Outbox, callbacks: LoopCallbacks, jobs: Submitter | None
    ) -> None: ...
