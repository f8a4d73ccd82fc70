from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.runtime.callbacks import LoopCallbacks, LoopEvents
from bsbpool._core.runtime.data_directory import DataDirectory
from bsbpool._core.runtime.gang_messages import GangMessages
from bsbpool._core.runtime.outbox import Outbox
from bsbpool._core.runtime.reply_reader import ReplyReader
from bsbpool._core.scheduling.engine import Engine

class MainLoop:
    direct: bool
    events: LoopEvents | None
    @property
    def data(self) -> DataDirectory: ...
    @property
    def gangs(self) -> GangMessages: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def replies(self) -> ReplyReader: ...
    def __init__(
        self,
        engine: Engine,
        channel: Channel,
        run_id: int,
        callbacks: LoopCallbacks,
        jobs: Submitter | None = None,
    ) -> None: ...
    def run(self) -> None: ...
    def set_remote(self, remote: bytes) -> None: ...
    @property
    def clock_offsets(self) -> list[int]: ...
    def set_prelude(self, function: int) -> None: ...
    def interrupt(self, job: int, kind: int, reason: bytes = b"") -> None: ...
    def stop(
        self, aborted: bool, stop_code: int = 0, interrupts: bool = False
    ) -> list[int]: ...
