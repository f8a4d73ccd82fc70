from collections.abc import Sized
from typing import Any

from bsbpool._core.jobs.invoke import CallDepth, RunningJob
from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.runtime.callbacks import SerialCallbacks

class SerialLoop:
    indirect: bool
    @property
    def running_job(self) -> RunningJob: ...
    def __init__(
        self,
        pool: Submitter,
        owner: Any,
        call_depth: CallDepth,
        events: Sized,
        callbacks: SerialCallbacks,
    ) -> None: ...
    def run(self, limited: bool = False) -> None: ...
    def set_events(self, events: Any) -> None: ...
    def check_soon(self) -> None: ...
