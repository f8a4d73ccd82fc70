from typing import Any

from bsbpool._core.jobs.handle import StoredResult
from bsbpool._core.jobs.submission import Submitter
from bsbpool._core.journal.callbacks import JournalCallbacks, ResultReader
from bsbpool._core.journal.end_recorder import EndRecorder
from bsbpool._core.journal.key_table import KeyTable
from bsbpool._core.journal.keys import JobKeys
from bsbpool._core.journal.records import RecordBuffer

class JournaledResult(StoredResult):
    def __init__(self, reader: ResultReader, offset: int) -> None: ...
    def load(self, copy: bool) -> tuple[Any, list[Any]]: ...

class JobJournal(EndRecorder):
    n_resumed: int
    def __init__(
        self,
        pool: Submitter,
        keys: JobKeys,
        table: KeyTable,
        buffer: RecordBuffer,
        callbacks: JournalCallbacks,
        reader: ResultReader,
        limit: int,
        every_group: bool,
        version: Any = None,
    ) -> None: ...
    def connect(self) -> None: ...
    def put(self, job: Any, cache_set: int, special: Any) -> bool: ...
