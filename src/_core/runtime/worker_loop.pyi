from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool._core.jobs.invoke import CallDepth
from bsbpool._core.runtime.callbacks import WorkerCallbacks
from bsbpool._core.runtime.data_receiver import DataReceiver

class WorkerLoop(DataReceiver):
    direct: bool
    def __init__(
        self,
        channel: Channel,
        run_id: int,
        callbacks: WorkerCallbacks,
        rank: int = -1,
    ) -> None: ...
    def enable_direct_calls(self, owner: Any, call_depth: CallDepth) -> None: ...
    def run(self) -> bool: ...
    def job_seconds(self) -> float: ...
    def running_function(self) -> Any: ...
