"""The callbacks of `JobJournal`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class JournalCallbacks(Protocol):
    """What few jobs need. None of the methods but `group_ended` and `refuse_key` raises."""

    def key_options(self, job: Any) -> tuple[str | None, Any, Sequence[Any], bool]:
        """Return the key of a job with options, further data for keys, jobs in options.

        The last item is whether the job is recorded.
        """

    def with_attempts(self, job: Any, special: Any, attempts: int) -> Any:
        """Return the options of a job that has run before, with so many fewer attempts."""

    def refuse_key(self, job: Any, error: TypeError) -> None:
        """Raise an error for a job that has no key."""

    def load(self, status: int, payload_kind: int, offset: int) -> tuple[bool, Any]:
        """Return whether a recorded end counts, and the outcome of the job or its error."""

    def fail(self, job: Any, outcome: Any) -> None:
        """End a job that failed in an earlier run."""

    def record_result(self, job: Any, outcome: Any) -> None:
        """Record a result that is large, or not a number, text or the like."""

    def record_failure(self, job: Any) -> None:
        """Record the error of a job."""

    def number_of_name(self, f: Any) -> int:
        """Return the number of the name of a function."""

    def wait_for_writer(self) -> None:
        """Wait until there are fewer records."""

    def group_ended(self) -> None:
        """All jobs that ended at a time were recorded."""


class ResultReader(Protocol):
    """Reads the results in a journal."""

    def read(self, offset: int) -> tuple[Any, list[Any]]:
        """Return the pickle of the result in the record at an offset, and its buffers."""
