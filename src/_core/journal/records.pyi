from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

from typing_extensions import Buffer

class RecordKind(IntEnum):
    ENDED = 1
    ATTEMPT = 2
    NAME = 3
    RUN = 4

class PayloadKind(IntEnum):
    NOTHING = 0
    PICKLE = 1
    SIDE_FILE = 2
    NOT_KEPT = 3
    ERROR = 4

class RecordBuffer:
    size: int
    on_first: Callable[[], object] | None
    def add(
        self,
        kind: int,
        status: int,
        payload_kind: int,
        key: bytes,
        payload: Buffer = b"",
        buffers: Sequence[Buffer] = (),
        text: bytes = b"",
        attempts: int = 0,
        time_ns: int = 0,
        run_ns: int = 0,
        rank: int = -1,
        name: int = 0,
    ) -> None: ...
    def take(self) -> Batch: ...
    def reuse(self, batch: Batch) -> None: ...

class Batch:
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def seal(self) -> None: ...
    def whole_records(self, size: int) -> int: ...

def parse(
    record: Buffer,
) -> tuple[int, int, int, bytes, memoryview, list[memoryview], dict[str, Any]]: ...
def start_writing(fd: int, offset: int, size: int) -> None: ...
def size_of(frame: Buffer) -> int: ...
