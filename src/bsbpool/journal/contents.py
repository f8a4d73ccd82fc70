"""Reading a whole journal, also one that a run is writing; and writing it anew without old records.

Nothing here unpickles results.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from bsbpool import exceptions
from bsbpool._core.journal.key_table import KeyTable
from bsbpool._core.journal.records import PayloadKind, RecordBuffer, RecordKind, parse, size_of
from bsbpool.journal import header, side_files
from bsbpool.journal.file import FRAME_SIZE, JournalFile
from bsbpool.status import JOB_STATUSES, JobStatus

SUCCESS, FAILED = JOB_STATUSES.index(JobStatus.SUCCESS), JOB_STATUSES.index(JobStatus.FAILED)


class JournaledJob(NamedTuple):
    """What a journal knows of a job.

    Attributes
    ----------
    key : str
        Its key, in hexadecimal digits.
    name : str
        The name of its function.
    status : str
        How it ended.
    attempts : int
        How often it has run, over all runs.
    time_ns : int
        When it ended, in ns since 1970.
    seconds : float or None
        How long it ran.
    rank : int or None
        The rank that ran it.
    size : int
        The bytes of its result or error.
    side_file : str
        The name of the file with its result; empty if that is in the journal.
    note : str
        The error, or why the result is not in the journal.
    """

    key: str
    name: str
    status: str
    attempts: int
    time_ns: int
    seconds: float | None
    rank: int | None
    size: int
    side_file: str
    note: str


class JournalContents:
    """The contents of a journal file, which is not changed.

    Parameters
    ----------
    path : str
        The file.

    Attributes
    ----------
    header : dict
        The contents of the header; empty if it is damaged.
    header_problem : str
        What is wrong with the header; empty if nothing is.
    n_jobs : int
        The number of jobs.
    damaged : list of tuple of int
        The begin and the end of each damaged part.
    torn : int
        The bytes after the last intact record.
    runs : list of dict
        What is known of the runs.

    Raises
    ------
    JournalError
        If the file is not a journal or cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                self._data: Any = (
                    mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
                    if self.size
                    else b""
                )
        except OSError as error:
            raise exceptions.JournalError(f"{path} cannot be read: {error}") from error
        self.header: dict[str, Any] = {}
        self.header_problem = ""
        first = self._data[: header.SIZE]
        if header.is_begun(first):
            self.header_problem = f"the header of {path} was written in part"
        else:
            try:
                self.header = header.unpack(first.ljust(header.SIZE), path)
            except exceptions.JournalError as error:
                if not first.startswith(header.MAGIC):
                    raise
                self.header_problem = str(error)
        self._table = KeyTable()
        end, self.damaged, others = self._table.read(self._data)
        self.torn = self.size - max(end, min(header.SIZE, self.size))
        self.n_jobs = len(self._table.offsets())
        self._names: dict[int, str] = {}
        self.runs: list[dict[str, Any]] = []
        for offset in others:
            try:
                kind, _, _, _, payload, _, more = self._parse(offset)
            except ValueError:  # it has a checksum, but was not written by this package
                self.damaged.append((offset, self._end(offset)))
                continue
            if kind == RecordKind.NAME:
                self._names[more["name"]] = bytes(payload).decode(errors="replace")
            elif kind == RecordKind.RUN:
                self.runs.append(side_files.unpack(payload))
            del payload, _  # they refer to the file, which could not be closed

    def _end(self, offset: int) -> int:
        return offset + size_of(self._data[offset : offset + FRAME_SIZE])

    def _parse(self, offset: int) -> tuple[Any, ...]:
        return parse(self._data[offset : self._end(offset)])

    def ends(self) -> Iterator[tuple[Any, ...]]:
        """Yield the last records of the ends of jobs, see `parse`, in the order of the file."""
        for offset in self._table.offsets():
            with contextlib.suppress(ValueError):
                yield self._parse(offset)

    def jobs(self) -> Iterator[JournaledJob]:
        """Yield the jobs, in the order in which they ended."""
        for _, status, kind, key, payload, buffers, more in self.ends():
            note, side_file = more["text"].decode(errors="replace"), ""
            size = len(payload) + sum(map(len, buffers))
            if kind == PayloadKind.SIDE_FILE:
                reference = side_files.unpack(payload)
                side_file, size = reference["name"], sum(reference["sizes"])
            elif kind == PayloadKind.NOT_KEPT:
                note = note or bytes(payload).decode(errors="replace")
            yield JournaledJob(
                key.hex(),
                self._names.get(more["name"], "?"),
                JOB_STATUSES[status].name if status < len(JOB_STATUSES) else f"status {status}",
                more["attempts"],
                more["time_ns"],
                more["run_ns"] * 1e-9 if more["run_ns"] else None,
                more["rank"] if more["rank"] >= 0 else None,
                size,
                side_file,
                note,
            )

    def resumable(self) -> set[str]:
        """Return the keys of the jobs that succeeded, and whose results are kept."""
        files = side_files.SideFiles(self.path)
        return {
            key.hex()
            for _, status, kind, key, payload, _, _ in self.ends()
            if status == SUCCESS
            and (
                kind in (PayloadKind.NOTHING, PayloadKind.PICKLE)
                or (kind == PayloadKind.SIDE_FILE and files.has(side_files.unpack(payload)))
            )
        }

    def problems(self, deep: bool = True) -> list[str]:
        """Return what is damaged or missing, as sentences; `deep` reads the side files, too."""
        found = [self.header_problem] if self.header_problem else []
        found += [f"damaged from byte {begin} to {end}" for begin, end in self.damaged]
        if self.torn:
            found.append(f"the last {self.torn} bytes are no whole record; a run cuts them off")
        files = side_files.SideFiles(self.path)
        for offset in self._table.offsets():
            try:
                _, _, kind, _, payload, _, _ = self._parse(offset)
            except ValueError:
                found.append(f"damaged from byte {offset} to {self._end(offset)}")
                continue
            if kind != PayloadKind.SIDE_FILE:
                continue
            reference = side_files.unpack(payload)
            if not files.has(reference):
                found.append(f"{files.path_of(reference)} is missing; its job runs again")
            elif deep:
                try:
                    files.read(reference)
                except (OSError, ValueError) as error:
                    found.append(str(error))
        return found


def compact(path: str) -> tuple[int, int]:
    """Write a journal anew, without records that later ones replace and without damaged parts.

    Files of results that no record names are deleted.

    Returns
    -------
    tuple of int
        The sizes in bytes before and after.

    Raises
    ------
    JournalError
        If the journal is in use or cannot be read.
    OSError
        If the new file cannot be written; then the old one remains.
    """
    file = JournalFile(path, must_exist=True, ignore_header=True)
    files = side_files.SideFiles(path)
    target = os.path.realpath(path)  # not a link to the file
    unfinished = f"{target}.new"
    try:
        before = file.end + file.torn
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)  # of a process that was killed
        try:
            after = _write_compacted(file, unfinished)
            # Before the new file, which is not locked, gets the name: from then on another process
            # can use it, and write files that `file` does not name.
            for unknown in files.unknown(_side_files_of(file)):
                with contextlib.suppress(OSError):
                    os.unlink(unknown)
            os.rename(unfinished, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise
    finally:
        file.close()
    return before, after


def _write_compacted(file: JournalFile, path: str) -> int:
    kept = RecordBuffer()
    for number, name in file.names.items():
        kept.add(RecordKind.NAME, 0, 0, bytes(16), name.encode(errors="replace"), name=number)
    attempts = RecordBuffer()
    for key, n in file.table.unfinished():
        attempts.add(RecordKind.ATTEMPT, FAILED, 0, key, attempts=n)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as new:
        new.write(header.pack(file.contents or header.of_this_program()))
        _write_records(new, kept)
        for offset in sorted([*file.runs[-1:], *file.table.offsets()]):
            record = file.raw(offset)
            new.write(record)
            with contextlib.suppress(ValueError):  # it cannot be read
                _keep_attempts(file, parse(record), attempts)
        _write_records(new, attempts)
        new.flush()
        os.fsync(new.fileno())
        return new.tell()


def _write_records(new: Any, records: RecordBuffer) -> None:
    batch = records.take()
    batch.seal()
    new.write(batch)


def _keep_attempts(file: JournalFile, record: tuple[Any, ...], attempts: RecordBuffer) -> None:
    """Add an attempt if a job has run again after the end that a record tells."""
    kind, _, _, key, _, _, more = record
    known = file.table.get(key) if kind == RecordKind.ENDED else None
    if known is not None and known[2] > more["attempts"]:
        attempts.add(RecordKind.ATTEMPT, FAILED, 0, key, attempts=known[2])


def _side_files_of(file: JournalFile) -> set[str]:
    names = set()
    for offset in file.table.offsets():
        try:
            _, _, kind, _, payload, _, _ = file.record(offset)
        except ValueError:
            continue
        if kind == PayloadKind.SIDE_FILE:
            names.add(side_files.unpack(payload)["name"])
    return names
