from collections.abc import Collection
from typing import TypeAlias

from typing_extensions import Buffer

_Record: TypeAlias = tuple[int, int, int, int, int, bytes, int]

class MalformedFrameError(ValueError): ...

class FrameWriter:
    def __len__(self) -> int: ...
    @property
    def size(self) -> int: ...
    def add(
        self,
        kind: int,
        id: int,
        aux: int = 0,
        flags: int = 0,
        extra: int = 0,
        payload: bytes | None = None,
        buffers: Collection[memoryview] = (),
    ) -> None: ...
    def to_bytes(self, run_id: int = 0) -> bytes: ...

class FrameReader: ...

def read_frame(data: Buffer) -> list[_Record]: ...
def read_part_sizes(data: Buffer) -> list[int]: ...
