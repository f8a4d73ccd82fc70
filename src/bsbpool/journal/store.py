"""The contents of a journal that a pool or an executor has open: results and errors."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bsbpool import exceptions
from bsbpool._core.jobs.handle import RemoteResult, StoredResult
from bsbpool._core.journal.job_journal import JournaledResult
from bsbpool._core.journal.records import PayloadKind, RecordKind
from bsbpool.journal import header, side_files
from bsbpool.journal.digests import Digests
from bsbpool.journal.file import JournalFile
from bsbpool.journal.options import Journal
from bsbpool.journal.writer import JournalWriter
from bsbpool.logs import logger
from bsbpool.naming import error_text, name_of
from bsbpool.process import is_from_signal
from bsbpool.remote_errors import load_error
from bsbpool.serialization import copies_of, dumps
from bsbpool.status import JOB_STATUSES, JobStatus

_log = logger("journals")

SUCCESS, FAILED, CANCELLED = map(
    JOB_STATUSES.index, (JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELLED)
)
NO_KEY = bytes(16)
ENDED, ATTEMPT, NAME, RUN = map(int, RecordKind)
NOTHING, PICKLE, SIDE_FILE, NOT_KEPT, ERROR = map(int, PayloadKind)
MOST_WARNINGS = 10
MOST_NAMED = 1000

Packed = tuple[int, Any, Sequence[Any]]
"""The kind of a payload, the payload and its buffers."""


class ResultReader:
    """Reads results from a journal.

    Parameters
    ----------
    file : JournalFile
        The journal.
    files : SideFiles
        The folder of the large results.
    """

    def __init__(self, file: JournalFile, files: side_files.SideFiles) -> None:
        self._file, self._side_files = file, files

    def read(self, offset: int) -> tuple[Any, list[Any]]:
        """Return the pickle and the buffers of the result of a record."""
        _, _, kind, _, payload, buffers, _ = self._file.record(offset)
        if kind == SIDE_FILE:
            return self._side_files.read(side_files.unpack(payload))
        return payload, buffers


class JournalStore:
    """A journal that is open, for a pool or an executor.

    Parameters
    ----------
    options : Journal
        The journal.

    Attributes
    ----------
    digests : Digests
        Makes the keys.
    reader : ResultReader
        Reads the results.

    Raises
    ------
    JournalError
        If the journal cannot be used.
    """

    def __init__(self, options: Journal) -> None:
        self._options = options
        self._warned: set[str] = set()
        self._file = JournalFile(str(options.path))
        try:
            self._writer = JournalWriter(self._file, options)
            self.reader = ResultReader(self._file, self._writer.side_files)
            self.digests = Digests()
            self._names = {name: number for number, name in self._file.names.items()}
            self._report_opening()
            run = json.dumps(header.of_this_run()).encode()
            self._writer.buffer.add(RUN, 0, NOTHING, NO_KEY, run)
            self._writer.write(sync=True)
            if self._writer.error is not None and options.on_error == "raise":
                raise self._writer.error
            self._writer.buffer.on_first = self._writer.wake
        except BaseException:
            self._file.close()
            raise

    def _report_opening(self) -> None:
        file = self._file
        for begin, end in file.damaged:
            _log.warning(
                "%s is damaged from byte %d to %d; the jobs that were recorded there run again",
                file.path, begin, end,
            )  # fmt: skip
        if file.torn:
            _log.info("%s ended in a part of a record, %d bytes, which were cut off", file.path,
                      file.torn)  # fmt: skip
        if not file.runs:
            return
        last = json.loads(bytes(file.record(file.runs[-1])[4]))
        if str(last.get("python")).split(".")[:2] != [str(n) for n in sys.version_info[:2]]:
            _log.warning(
                "%s was last used with Python %s. Functions have another code in this Python, so "
                "only jobs with a `key` are found in it",
                file.path, last.get("python"),
            )  # fmt: skip

    # ------------------------------------------------------------ reading

    def load(self, status: int, payload_kind: int, offset: int) -> tuple[bool, Any]:
        """Return whether a recorded end counts, and the outcome that the job keeps."""
        if status == SUCCESS:
            known = payload_kind == PICKLE or (payload_kind == SIDE_FILE and self._has_file(offset))
            return known, JournaledResult(self.reader, offset)
        if status != FAILED or self._options.resume_failed:
            return False, None
        return True, self._error_at(offset)

    def _has_file(self, offset: int) -> bool:
        reference = side_files.unpack(self._file.record(offset)[4])
        if self._writer.side_files.has(reference):
            return True
        self._warn(f"{self._writer.side_files.path_of(reference)} is missing; its job runs again")
        return False

    def _error_at(self, offset: int) -> BaseException:
        _, _, kind, _, payload, buffers, more = self._file.record(offset)
        try:
            if kind == ERROR:
                return load_error(payload, buffers)
        except Exception as error:
            self._warn(f"an error cannot be unpickled: {error_text(error)}")
        return exceptions.RemoteError(more["text"].decode(errors="replace"))

    def report_unseen(self) -> None:
        """Log which results the program has not asked for."""
        left = self._file.table.unseen(SUCCESS)
        if left:
            _log.warning(
                "%s has the results of %d jobs that the program did not queue in this run: %s",
                self._file.path, len(left), self._names_at(left),
            )  # fmt: skip

    def _names_at(self, offsets: Sequence[int]) -> str:
        """Return a text with the functions of some jobs, and how many there are of each."""
        counts: Counter[str] = Counter()
        for offset in offsets[:MOST_NAMED]:
            with contextlib.suppress(ValueError, OSError):  # it cannot be read any more
                counts[self._file.names.get(self._file.record(offset)[6]["name"], "?")] += 1
        shown = [f"{name} ({n})" for name, n in counts.most_common(5)]
        more = len(counts) > 5 or len(offsets) > MOST_NAMED
        return ", ".join([*shown, "and others"] if more else shown)

    # ------------------------------------------------------------ writing

    def pack(self, key: bytes, outcome: Any) -> Packed:
        """Return the payload of the record of a result, which stays as it is from now on.

        Raises
        ------
        BaseException
            The error of a signal.
        """
        try:
            payload, buffers = self._parcel(outcome)
        except BaseException as error:
            if is_from_signal(error):
                raise
            text = error_text(error)
            self._warn(f"a result is not kept, so its job runs again: {text}")
            return NOT_KEPT, text.encode(errors="replace"), ()
        size = len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)
        if size < self._options.side_file_size:
            return PICKLE, payload, buffers
        if not isinstance(outcome, StoredResult):
            buffers = copies_of(buffers)  # other code may change the arrays
        parts = (payload, *buffers)
        reference = side_files.reference_to(f"{key.hex()}.pickle", parts)
        self._writer.add_side_file(reference, parts)
        return SIDE_FILE, side_files.pack(reference), ()

    def _parcel(self, outcome: Any) -> tuple[Any, list[Any]]:
        if isinstance(outcome, RemoteResult):
            raise LookupError("it stayed on the worker")
        if isinstance(outcome, StoredResult):
            return outcome.load(copy=False)
        payload, buffers = dumps(outcome)
        return payload, list(buffers)

    def number_of_name(self, f: Any) -> int:
        """Return the number of the name of a function."""
        name = name_of(f)
        if name not in self._names:
            # Not their number: names may be lost with a damaged part.
            self._names[name] = max(self._names.values(), default=0) + 1
            self._writer.buffer.add(
                NAME, 0, NOTHING, NO_KEY, name.encode(errors="replace"), name=self._names[name]
            )
        return self._names[name]

    def _warn(self, text: str) -> None:
        """Log a warning; only the first ten of a run."""
        if len(self._warned) < MOST_WARNINGS and text not in self._warned:
            self._warned.add(text)
            _log.warning("%s: %s", self._file.path, text)
