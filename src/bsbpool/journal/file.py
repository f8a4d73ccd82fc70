"""A journal file: it is locked, repaired after a kill, read, and appended to.

The lock is an OFD lock on Linux, else a POSIX record lock. Other nodes see both on network file
systems that have locks. A POSIX lock would be released when any descriptor of the file is closed,
also by code that only copies the journal. An OFD lock ends with its last descriptor, so forked
children close theirs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import struct
import sys
import weakref
from typing import Any

from bsbpool import exceptions
from bsbpool._core.journal.key_table import KeyTable
from bsbpool._core.journal.records import RecordKind, parse, size_of, start_writing
from bsbpool.journal import header
from bsbpool.journal.private import check_private
from bsbpool.logs import logger
from bsbpool.process import in_children

_log = logger("journals")

FRAME_SIZE = 12
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}

_open_here: set[tuple[int, int]] = set()
"""The devices and inodes of the journals that this process has open."""
_open_files: weakref.WeakSet[JournalFile] = weakref.WeakSet()


class JournalFile:
    """A journal that this process has locked.

    Parameters
    ----------
    path : str
        The file. It is made if it does not exist.
    must_exist : bool
        Whether it must exist.
    ignore_header : bool
        Whether a damaged header is ignored.

    Attributes
    ----------
    contents : dict
        The contents of the header.
    table : KeyTable
        The jobs by key.
    names : dict of int to str
        The names of functions by number.
    runs : list of int
        The offsets of the records that begin runs.
    damaged : list of tuple of int
        The begin and end of each damaged part.
    torn : int
        How many bytes at the end were cut off, since they were no whole record.
    end : int
        The size of the file, where the next record goes.

    Raises
    ------
    JournalError
        If the file is in use, is no journal, or cannot be opened.
    """

    def __init__(
        self, path: str, must_exist: bool = False, ignore_header: bool = False
    ) -> None:
        self.path = path
        self._pid = os.getpid()
        self._fd = -1
        self._id: tuple[int, int] | None = None
        try:
            self._open(must_exist)
            self._read(ignore_header)
        except OSError as error:
            self.close()
            raise exceptions.JournalError(
                f"{path} cannot be opened as a journal: {error}"
            ) from error
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        """Close the file of a pool that was never used."""
        with contextlib.suppress(Exception):
            self.close()

    # ------------------------------------------------------------ opening

    def _open(self, must_exist: bool) -> None:
        while True:
            with contextlib.suppress(FileNotFoundError):
                if _id_of(os.stat(self.path)) in _open_here:
                    raise self._in_use(" by another pool of this process")
            flags = os.O_RDWR | os.O_CLOEXEC | (0 if must_exist else os.O_CREAT)
            self._fd = os.open(self.path, flags, 0o600)
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise exceptions.JournalError(f"{self.path} is not a file; give another path")
            check_private(self.path, status, "600")
            self._lock()
            with contextlib.suppress(FileNotFoundError):
                if _id_of(os.stat(self.path)) == _id_of(status):
                    break
            self._close_descriptor()  # the file was replaced before it was locked
        self._id = _id_of(status)
        _open_here.add(self._id)
        _open_files.add(self)
        in_children(_close_in_child)

    def _lock(self) -> None:
        try:
            _lock(self._fd)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise self._in_use(" by another process") from None
            if error.errno not in NO_LOCKS:
                raise
            _log.warning(
                "the file system of %s has no locks (%s); let no second program use this journal",
                self.path,
                error,
            )

    def _in_use(self, by: str) -> exceptions.JournalError:
        return exceptions.JournalError(
            f"the journal {self.path} is in use{by}; wait until that has ended, or give another "
            "path"
        )

    def _read(self, ignore_header: bool) -> None:
        size = os.fstat(self._fd).st_size
        first = os.pread(self._fd, header.SIZE, 0)
        self.table = KeyTable()
        self.names: dict[int, str] = {}
        self.runs: list[int] = []
        self.damaged: list[tuple[int, int]] = []
        self.torn = 0
        if header.is_begun(first):
            self._begin()
            return
        try:
            self.contents = header.unpack(first.ljust(header.SIZE), self.path)
        except exceptions.JournalError:
            if not ignore_header or not first.startswith(header.MAGIC):
                raise
            self.contents = {}
        self.end = header.SIZE
        others: list[int] = []
        if size > header.SIZE:
            with mmap.mmap(self._fd, size, access=mmap.ACCESS_READ) as data:
                self.end, self.damaged, others = self.table.read(data)
        self.torn = size - self.end
        if self.torn:
            os.ftruncate(self._fd, self.end)
        for offset in others:
            try:
                kind, _, _, _, payload, _, more = self.record(offset)
            except ValueError:  # it has a checksum, but was not written by this package
                self.damaged.append((offset, offset + len(self.raw(offset))))
                continue
            if kind == RecordKind.NAME:
                self.names[more["name"]] = bytes(payload).decode(errors="replace")
            elif kind == RecordKind.RUN:
                self.runs.append(offset)

    def _begin(self) -> None:
        """Write the header of a new file."""
        self.contents = header.of_this_program()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, header.pack(self.contents), 0)
        self.end = header.SIZE
        with contextlib.suppress(OSError):  # so that the file survives a crash of the machine
            folder = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    # ------------------------------------------------------------ reading and writing

    def record(self, offset: int) -> tuple[Any, ...]:
        """Return the contents of a record, see `parse`; each call reads it into new memory.

        Raises
        ------
        ValueError, OSError
            If it is damaged or cannot be read.
        """
        return parse(self.raw(offset))

    def raw(self, offset: int) -> bytearray:
        """Return a record as it is in the file."""
        if self._fd < 0:
            raise ValueError("the journal is closed")
        frame = os.pread(self._fd, FRAME_SIZE, offset)
        data = bytearray(size_of(frame))
        view = memoryview(data)
        done = 0
        while done < len(data):
            n = os.preadv(self._fd, [view[done:]], offset + done)
            if n == 0:
                raise ValueError("the journal is too short: another program has truncated it")
            done += n
        return data

    def append(self, batch: Any) -> None:
        """Write records at the end.

        Raises
        ------
        OSError
            If they cannot be written. No part of a record then remains.
        """
        view, done = memoryview(batch), 0
        try:
            while done < len(view):
                done += os.pwrite(self._fd, view[done:], self.end + done)
        finally:
            if done < len(view):
                done = self._keep_whole(batch)
            self.end += done

    def _keep_whole(self, batch: Any) -> int:
        """Cut off a part of a record of a batch; return how many bytes of it remain.

        The size of the file says how many were written: a signal can end `append` after a call that
        has written, but before its return value is known.
        """
        written = os.fstat(self._fd).st_size - self.end
        whole: int = batch.whole_records(max(0, written))
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self.end + whole)
        return whole

    def start_sync(self, size: int) -> None:
        """Let the disk begin to write the last bytes, so that `sync` takes less time."""
        start_writing(self._fd, self.end - size, size)

    def sync(self) -> None:
        """Wait until the disk has all records."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close and unlock the file."""
        if self._fd >= 0 and os.getpid() == self._pid:
            self._close_descriptor()
            if self._id is not None:
                _open_here.discard(self._id)


    def _close_descriptor(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _lock(fd: int) -> None:
    """Lock a file for writing, or raise an OSError at once."""
    ofd_lock = getattr(fcntl, "F_OFD_SETLK", None)
    if ofd_lock is not None and sys.maxsize > 1 << 32:  # else the struct has another layout
        try:
            fcntl.fcntl(fd, ofd_lock, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            return
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _close_in_child() -> None:
    for file in _open_files:
        file._close_descriptor()
    _open_files.clear()
    _open_here.clear()


def _id_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
