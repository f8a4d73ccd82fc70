from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.runtime.callbacks import LoopCallbacks
from bsbpool._core.scheduling.engine import Engine

class MainLoop:
    direct: bool
    check_results: bool
    unpickle_results: bool
    def __init__(
        self,
        engine: Engine,
        channel: Channel,
        run_id: int,
        callbacks: LoopCallbacks,
        jobs: Submitter | None = None,
    ) -> None: ...
    def run(self) -> None: ...
    def set_prelude(self, function: int) -> None: ...
    def stop(self, aborted: bool, stop_code: int = 0) -> None: ...
