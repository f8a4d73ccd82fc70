from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool._core.scheduling.engine import Engine
from bsbpool._core.jobs.submission import Submitter

class Outbox:
    def __init__(
        self, engine: Engine, channel: Channel, run_id: int, host: Any, jobs: Submitter | None
    ) -> None: ...
