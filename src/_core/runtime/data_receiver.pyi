from typing import Any

from bsbpool._core.protocol.buffer import Buffer
from bsbpool._core.runtime.worker_receiver import WorkerReceiver

class DataReceiver(WorkerReceiver):
    def take_data(self, id: int, copy: bool = True) -> tuple[bytes | Buffer, list[Buffer]]: ...
    def keep_data(self, id: int, payload: bytes, buffers: list[Any]) -> None: ...
