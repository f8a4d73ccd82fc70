from typing import Any

from bsbpool._core.channel import Channel
from bsbpool._core.engine import Engine
from bsbpool._core.intake import Intake

class Outbox:
    def __init__(
        self, engine: Engine, channel: Channel, epoch: int, host: Any, jobs: Intake | None
    ) -> None: ...
