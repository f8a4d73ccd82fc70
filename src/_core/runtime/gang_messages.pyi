from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.protocol.frames import FrameReader
from bsbpool._core.runtime.callbacks import LoopCallbacks
from bsbpool._core.runtime.job_sender import JobSender
from bsbpool._core.runtime.outbox import Outbox
from bsbpool._core.runtime.reply_reader import ReplyReader
from bsbpool._core.scheduling.engine import Engine

class Communicators:
    def use(self, members: tuple[int, ...]) -> tuple[int, list[tuple[int, tuple[int, ...]]]]: ...
    def remove(self, serial: int) -> int: ...

class RunningGang: ...

class GangMessages:
    def __init__(
        self,
        engine: Engine,
        sender: JobSender,
        replies: ReplyReader,
        reader: FrameReader,
        outbox: Outbox,
        jobs: Submitter | None,
        callbacks: LoopCallbacks,
    ) -> None: ...
    @property
    def failing(self) -> dict[int, int]: ...
    def check(self) -> float: ...
