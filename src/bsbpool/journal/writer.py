"""The threads that write the records of a journal.

The main thread appends records to a buffer in memory, which takes less than a microsecond. After
the first one, it wakes a thread, which waits for a moment, so that more records join, and then
writes all of them with one call: from then on they survive the death of the process. Another thread
calls `fsync`, at most once in the interval that the user has chosen; meanwhile the first one goes
on.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import Any

from bsbpool import exceptions
from bsbpool._core.journal.records import RecordBuffer
from bsbpool.journal.file import JournalFile
from bsbpool.journal.options import Journal
from bsbpool.journal.side_files import SideFiles
from bsbpool.logs import logger
from bsbpool.naming import error_text

_log = logger("journals")

SECONDS_TO_JOIN = 0.005
"""How long the thread waits for further records."""
MANY = 64 << 10
"""Bytes of records after which it waits longer: each time it runs, the main thread must wait."""
LONGER = 0.05
"""How long it then waits."""
MOST_WAITING = 64 << 20
"""Bytes of records, and of results for files, from which the main thread writes them itself."""


class JournalWriter:
    """Writes records to a journal, in threads of its own and in the calling thread.

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
        self.side_files.check()
        self.error: exceptions.JournalError | None = None
        self.n_syncs = 0
        self._batches: list[Any] = []  # taken from the buffer, and not yet written
        self._waiting: deque[tuple[dict[str, Any], Any]] = deque()  # for the side files
        self._waiting_size = 0  # their bytes
        self._waiting_lock = threading.Lock()  # held for a moment only
        self._has_records = threading.Event()
        self._is_dirty = threading.Event()  # whether the disk may lack records
        self._closing = threading.Event()
        self._lock = threading.Lock()  # held while the file is written
        self._threads: list[threading.Thread] = []
        self._pid = os.getpid()
        self._last = 0  # the size of the last batch

    def wake(self) -> None:
        """Write the records soon."""
        if not self._threads:
            with self._lock:  # several threads may end the first calls of an executor
                self._start_threads()
        self._has_records.set()

    def _start_threads(self) -> None:
        loops = [self._write_often]
        if not isinstance(self._options.sync, str):
            loops.append(self._sync_at_times)
        for loop in loops[len(self._threads) :]:
            thread = threading.Thread(target=loop, name="bsbpool-journal", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: `close` writes the records
                return
            self._threads.append(thread)

    def add_side_file(self, reference: dict[str, Any], parts: Any) -> None:
        """Write the file of a result before the record that the caller appends next.

        Waits for the file if many bytes wait already.
        """
        with self._waiting_lock:
            self._waiting.append((reference, parts))
            self._waiting_size += sum(reference["sizes"])
            are_many = self._waiting_size > MOST_WAITING
        if are_many:
            self.write()

    def write_if_many(self) -> None:
        """Write the records now if their thread is too slow."""
        if self.buffer.size > MOST_WAITING:
            self.write()

    def write(self, sync: bool = False) -> None:
        """Write the records now; with `sync`, wait for the disk, unless the user chose "never"."""
        if os.getpid() != self._pid:
            return  # in a forked child, which must not write
        with self._lock:
            if self.error is not None:
                self.buffer.take()
                self._drop_waiting()
                return
            try:
                self._write_all()
                if sync:
                    self._sync()
            except Exception as error:  # else the thread would end, and nobody would know
                self._fail(error)

    def close(self) -> None:
        """Write the records, and stop the thread."""
        self._closing.set()
        self._has_records.set()
        self._is_dirty.set()
        if os.getpid() == self._pid:
            for thread in self._threads:
                thread.join()
        self.write(sync=True)

    def is_current_thread(self) -> bool:
        """Whether the current thread is one of the writer."""
        return threading.current_thread() in self._threads

    def _write_often(self) -> None:
        while not self._closing.is_set():
            self._has_records.wait()
            self._closing.wait(LONGER if self._last > MANY else SECONDS_TO_JOIN)
            self._has_records.clear()  # before the records are taken
            self.write()

    def _sync_at_times(self) -> None:
        assert not isinstance(self._options.sync, str)
        while not self._closing.is_set():
            self._is_dirty.wait()
            if self._closing.wait(self._options.sync):
                return  # `close` does the rest
            try:
                self._sync()
            except Exception as error:
                with self._lock:
                    self._fail(error)
                return

    def _write_all(self) -> None:
        """Write all records; if a signal raises an error in between, the next call goes on."""
        # One step of the interpreter, so that no signal comes before the batch is kept.
        self._batches.extend(map(RecordBuffer.take, (self.buffer,)))
        # In this order: the main thread adds the file before the record that names it.
        while self._waiting:
            reference, parts = self._waiting[0]
            self.side_files.write(reference, parts, self._options.sync != "never")
            with self._waiting_lock:
                self._waiting_size -= sum(reference["sizes"])
                self._waiting.popleft()
        self._last = 0
        while self._batches:
            batch = self._batches[0]
            if len(batch):
                self._last += len(batch)
                batch.seal()
                self._file.append(batch)  # records that are written twice do no harm
                self._is_dirty.set()
                if len(batch) > MANY and self._options.sync != "never":
                    self._file.start_sync(len(batch))
                self.buffer.reuse(batch)
            del self._batches[0]

    def _drop_waiting(self) -> None:
        with self._waiting_lock:
            self._waiting.clear()
            self._waiting_size = 0
        self._batches.clear()

    def _sync(self) -> None:
        if self._is_dirty.is_set() and self._options.sync != "never":
            self._is_dirty.clear()  # before: records that are written meanwhile come next
            try:
                self._file.sync()
            except BaseException:
                self._is_dirty.set()
                raise
            self.n_syncs += 1

    def _fail(self, error: Exception) -> None:
        if self._options.on_error == "continue":
            remedy = "the run goes on without a journal"
        else:
            remedy = (
                "the run ends; free disk space and start the program again, which goes on here, "
                'or use Journal(..., on_error="continue")'
            )
        text = str(error) if isinstance(error, OSError) else error_text(error)
        self.error = exceptions.JournalError(
            f"the journal {self._file.path} cannot be written: {text}; {remedy}"
        )
        self.error.__cause__ = error
        # In a log in any case: the error may come late, or another error may hide it.
        level = logging.WARNING if self._options.on_error == "continue" else logging.ERROR
        _log.log(level, "%s", self.error)
