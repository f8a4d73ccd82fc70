from collections.abc import Sequence

from typing_extensions import Buffer

from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.journal.callbacks import JournalCallbacks
from bsbpool._core.journal.keys import JobKeys
from bsbpool._core.journal.records import RecordBuffer

class EndRecorder:
    active: bool
    every_group: bool
    keys: JobKeys
    buffer: RecordBuffer
    n_recorded: int
    def __init__(
        self,
        pool: Submitter,
        keys: JobKeys,
        buffer: RecordBuffer,
        callbacks: JournalCallbacks,
        limit: int,
        every_group: bool,
    ) -> None: ...
    def add_attempt(self, number: int, status: int, text: bytes) -> None: ...
    def attempts_before(self, number: int) -> int: ...
    def add_end(
        self,
        number: int,
        status: int,
        payload_kind: int,
        payload: Buffer,
        buffers: Sequence[Buffer] = (),
        text: bytes = b"",
    ) -> None: ...
