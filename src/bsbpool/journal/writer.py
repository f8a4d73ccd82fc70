"""The thread that writes the records of a journal.

The main thread appends records to a buffer in memory, which takes less than a microsecond. When it
appends the first one, it wakes this thread, which waits for a moment, so that more records join,
and then writes all of them with one call. It calls `fsync` at most once in the interval that the
user has chosen.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from bsbpool import exceptions
from bsbpool._core.journal.records import RecordBuffer
from bsbpool.journal.file import JournalFile
from bsbpool.journal.options import Journal
from bsbpool.journal.side_files import SideFiles
from bsbpool.logs import logger

_log = logger("journals")

SECONDS_TO_JOIN = 0.02
"""How long the thread waits for further records."""
MOST_WAITING = 64 << 20
"""Bytes of records in memory from which the main thread writes them itself."""


class JournalWriter:
    """Writes records to a journal, in a thread of its own and in the calling thread.

    Parameters
    ----------
    file : JournalFile
        The file.
    options : Journal
        How it is written.

    Attributes
    ----------
    buffer : RecordBuffer
        Gets the records.
    error : JournalError or None
        Why nothing is written any more.
    n_syncs : int
        How often `fsync` was called.
    """

    def __init__(self, file: JournalFile, options: Journal) -> None:
        self._file = file
        self._options = options
        self.buffer = RecordBuffer()
        self.side_files = SideFiles(file.path)
        self.error: exceptions.JournalError | None = None
        self.n_syncs = 0
        self._waiting: list[tuple[dict[str, Any], Any]] = []  # for the side files
        self._has_records = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()  # held while the file is written
        self._thread: threading.Thread | None = None
        self._synced = 0.0
        self._is_dirty = False
        self._pid = os.getpid()

    def wake(self) -> None:
        """Write the records soon."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="bsbpool-journal", daemon=True
            )
            self._thread.start()
        self._has_records.set()

    def add_side_file(self, reference: dict[str, Any], parts: Any) -> None:
        """Write the file of a result before the record that the caller appends next."""
        self._waiting.append((reference, parts))

    def write(self, sync: bool = False) -> None:
        """Write the records now; with `sync`, wait for the disk, unless the user chose "never"."""
        if os.getpid() != self._pid:
            return  # in a forked child, which must not write
        with self._lock:
            if self.error is not None:
                self.buffer.take()
                self._waiting.clear()
                return
            try:
                self._write_all()
                if sync:
                    self._sync()
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """Write the records, and stop the thread."""
        self._closing.set()
        self._has_records.set()
        if self._thread is not None and os.getpid() == self._pid:
            self._thread.join()
        self.write(sync=True)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._has_records.wait(self._seconds_to_sync())
            if self._has_records.is_set():
                self._closing.wait(SECONDS_TO_JOIN)
                self._has_records.clear()  # before the records are taken
            self.write(sync=self._seconds_to_sync() == 0)

    def _seconds_to_sync(self) -> float | None:
        """Return the seconds until `fsync` is due; None if it is not."""
        if not self._is_dirty or isinstance(self._options.sync, str):
            return None
        return max(self._synced + self._options.sync - time.monotonic(), 0.0)

    def _write_all(self) -> None:
        batch = self.buffer.take()
        # In this order: the main thread adds the file before the record that names it.
        waiting, self._waiting = self._waiting, []
        for reference, parts in waiting:
            self.side_files.write(reference, parts, self._options.sync != "never")
        if not len(batch):
            return
        batch.seal()
        self._file.append(batch)
        self._is_dirty = True

    def _sync(self) -> None:
        if self._is_dirty and self._options.sync != "never":
            self._file.sync()
            self.n_syncs += 1
        self._is_dirty = False
        self._synced = time.monotonic()

    def _fail(self, error: OSError) -> None:
        if self._options.on_error == "continue":
            remedy = "the run goes on without a journal"
        else:
            remedy = (
                "the run ends; free disk space and start the program again, which goes on here, "
                'or use Journal(..., on_error="continue")'
            )
        self.error = exceptions.JournalError(
            f"the journal {self._file.path} cannot be written: {error}; {remedy}"
        )
        self.error.__cause__ = error
        if self._options.on_error == "continue":
            _log.warning("%s", self.error)
