from collections.abc import Sequence
from typing import Any

from bsbpool._core.jobs.submission import Submitter

class Record:
    _pool: Any
    _reason: Any
    _status: Any

class JobRecord(Record):
    _job: Any
    _old_status: Any

class ChangeLog:
    def __init__(
        self,
        pool: Submitter,
        statuses: Sequence[Any],
        added: type,
        added_reason: Any,
        update: type,
        update_reason: Any,
    ) -> None: ...
    def connect(self, events: Any, lock: Any) -> None: ...
    def gather(self) -> None: ...
    def notify(self) -> None: ...
