from typing import Any

from bsbpool._core.jobs.handle import StoredResult
from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.protocol.frames import FrameReader
from bsbpool._core.runtime.callbacks import LoopCallbacks
from bsbpool._core.runtime.data_directory import DataDirectory
from bsbpool._core.scheduling.engine import Engine

class SmallResult(StoredResult):
    def __init__(self, payload: bytes) -> None: ...
    def load(self, copy: bool) -> tuple[bytes, list[Any]]: ...

class ReplyReader:
    check_results: bool
    unpickle_results: bool
    def __init__(
        self,
        engine: Engine,
        callbacks: LoopCallbacks,
        jobs: Submitter | None,
        reader: FrameReader,
        data: DataDirectory,
    ) -> None: ...
