"""Journal files: what was written is read, whatever was cut off or damaged; locks and errors."""

import errno
import fcntl
import os
import random
import struct
import subprocess
import sys
import zlib

import pytest

from bsbpool._core.journal.key_table import KeyTable
from bsbpool._core.journal.records import PayloadKind, RecordBuffer, RecordKind, parse
from bsbpool.exceptions import JournalError
from bsbpool.journal import header
from bsbpool.journal.contents import JournalContents, compact
from bsbpool.journal.file import JournalFile

SUCCESS, FAILED = 3, 4
HEADER = header.SIZE
random_bytes = random.Random(5).randbytes


def key(i):
    return i.to_bytes(16, "big")[::-1]


def records():
    """Return records of all kinds, as single byte strings."""
    buffer = RecordBuffer()
    done = []

    def add(*args, **more):
        buffer.add(*args, **more)
        batch = buffer.take()
        batch.seal()
        done.append(bytes(batch))

    add(RecordKind.RUN, 0, 0, bytes(16), b'{"pid": 1}')
    add(RecordKind.NAME, 0, 0, bytes(16), b"f", name=1)
    for i in range(4):
        add(RecordKind.ENDED, SUCCESS, PayloadKind.PICKLE, key(i), random_bytes(7 * i), attempts=1)
    add(RecordKind.ATTEMPT, FAILED, 0, key(4), b"ValueError: no", attempts=1)
    add(RecordKind.ENDED, FAILED, PayloadKind.ERROR, key(4), b"p", [b"12", b""], text=b"no")
    add(
        RecordKind.ENDED, SUCCESS, PayloadKind.PICKLE, key(4), b"pickle", [b"ab" * 20], attempts=3,
        time_ns=5, run_ns=6, rank=2, name=1,
    )  # fmt: skip
    return done


RECORDS = records()
WHOLE = header.pack({"python": "3.12.1"}) + b"".join(RECORDS)
ENDS = [HEADER + sum(map(len, RECORDS[:n])) for n in range(len(RECORDS) + 1)]


def keys_in(some):
    """Return the keys that a list of records has."""
    return {parse(record)[3] for record in some if record[12] in (1, 2)}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run.journal")


def write(path, data):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def test_every_prefix_of_a_journal_opens_and_is_continued(path):
    # Prefixes of the header are all alike, and a new header is slow to write.
    for size in [*range(20), *range(20, HEADER, 41), *range(HEADER - 1, len(WHOLE) + 1)]:
        write(path, WHOLE[:size])
        file = JournalFile(path)
        intact = sum(size >= end for end in ENDS) - 1
        assert file.end == (HEADER if size < HEADER else ENDS[intact]), size
        assert file.damaged == []
        assert len(file.table) == len(keys_in(RECORDS[: max(intact, 0)])), size
        if size % 7 == 0:
            file.append(_batch(RECORDS[2]))
            file.close()
            file = JournalFile(path)
            assert (file.torn, file.damaged) == (0, [])
            assert file.table.get(key(0))[0] == SUCCESS
        assert os.stat(path).st_size == file.end
        file.close()


class _Whole(bytes):
    def whole_records(self, size):
        return 0


def _batch(data):
    return _Whole(data)


def test_a_flipped_bit_is_detected_and_costs_one_record():
    choose = random.Random(3)
    for at in range(HEADER, len(WHOLE)):
        data = bytearray(WHOLE)
        data[at] ^= 1 << choose.randrange(8)
        table = KeyTable()
        end, damaged, _ = table.read(data)
        hit = max(n for n, start in enumerate(ENDS) if start <= at)
        if hit == len(RECORDS) - 1:  # as a record that was written in part
            assert (end, damaged) == (ENDS[hit], []), at
        else:
            assert (end, damaged) == (len(WHOLE), [(ENDS[hit], ENDS[hit + 1])]), at
        assert len(table) == len(keys_in(RECORDS[:hit] + RECORDS[hit + 1 :])), at


def test_a_flipped_bit_of_the_header_is_detected(path):
    used = 28 + struct.unpack_from("<I", WHOLE, 20)[0]
    for at in range(used):
        data = bytearray(WHOLE)
        data[at] ^= 1
        write(path, data)
        with pytest.raises(JournalError, match=r"not a journal|damaged|version"):
            JournalFile(path)
        with open(path, "rb") as file:
            assert file.read() == data  # nothing was lost
    write(path, WHOLE[:16] + bytes([1, 0, 0, 0]) + bytes(492) + WHOLE[HEADER:])
    file = JournalFile(path, ignore_header=True)
    assert len(file.table) == 5
    file.close()


def test_garbage_is_never_read_as_records():
    for seed in range(300):
        choose = random.Random(seed)
        data = bytearray(WHOLE[HEADER:])
        for _ in range(choose.randrange(1, 6)):
            start = choose.randrange(len(data))
            data[start : start + choose.randrange(60)] = choose.randbytes(choose.randrange(60))
        table = KeyTable()
        table.read(data, 0)
        assert table.n <= 5
        for offset in table.offsets():
            assert parse(_record_at(data, offset))[0] == RecordKind.ENDED


def _record_at(data, offset):
    size = struct.unpack_from("<I", data, offset + 4)[0]
    return bytes(data[offset : offset + 12 + size])


def test_the_layout_is_that_of_the_documentation():
    """Another reader, from the description in layout.pxd; zlib has the same checksum."""
    data = RECORDS[-1]
    marker, size, crc = struct.unpack_from("<III", data)
    assert (marker, size) == (0x8B4A52BD, len(data) - 12)
    assert crc == zlib.crc32(data[12:]) ^ zlib.crc32(data[4:8])
    fields = struct.unpack_from("<BBBBI16sqqiIIIQ", data, 12)
    assert fields == (1, SUCCESS, 1, 0, 3, key(4), 5, 6, 2, 1, 1, 0, 6)
    assert struct.unpack_from("<Q", data, 76) == (40,)
    assert data[84:] == b"pickle" + b"ab" * 20
    kind, status, payload_kind, found, payload, buffers, more = parse(data)
    assert (kind, status, payload_kind, found) == (1, SUCCESS, 1, key(4))
    assert (bytes(payload), [bytes(b) for b in buffers]) == (b"pickle", [b"ab" * 20])
    assert more == {
        "text": b"", "attempts": 3, "time_ns": 5, "run_ns": 6, "rank": 2, "name": 1
    }  # fmt: skip
    for record in RECORDS:
        with pytest.raises(ValueError, match="damaged"):
            parse(record[:-1])


def test_checksums_of_all_lengths_are_those_of_zlib():
    buffer = RecordBuffer()
    for size in range(70):
        buffer.add(RecordKind.ENDED, SUCCESS, 1, key(size), random_bytes(size))
        batch = buffer.take()
        batch.seal()
        data = bytes(batch)
        crc = struct.unpack_from("<I", data, 8)[0]
        assert crc == zlib.crc32(data[12:]) ^ zlib.crc32(data[4:8])


def test_later_records_of_a_job_count(path):
    write(path, WHOLE)
    file = JournalFile(path)
    status, offset, attempts, seen = file.table.get(key(4))
    assert (status, offset, attempts, seen) == (SUCCESS, ENDS[-2], 3, False)
    assert bytes(file.record(offset)[4]) == b"pickle"
    assert file.names == {1: "f"}
    assert file.table.unseen(SUCCESS) == file.table.offsets() == [ENDS[n] for n in (2, 3, 4, 5, 8)]
    assert file.table.get(key(9)) is None
    file.close()


def test_the_table_of_keys_grows():
    buffer = RecordBuffer()
    n = 50_000
    for _ in range(n):
        buffer.add(RecordKind.ENDED, SUCCESS, 0, random_bytes(16))
    batch = buffer.take()
    batch.seal()
    table = KeyTable()
    assert table.read(batch, 0) == (len(batch), [], [])
    assert len(table) == n
    assert len(table.offsets()) == n


# ------------------------------------------------------------------ opening and errors

def test_a_new_journal_is_private(path):
    before = os.umask(0)
    try:
        JournalFile(path).close()
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_file_that_others_can_write_is_refused(path):
    write(path, WHOLE)
    os.chmod(path, 0o660)
    with pytest.raises(JournalError, match=r"written by other users.*chmod 600"):
        JournalFile(path)


@pytest.mark.parametrize("contents", [b"import numpy\n", b"x" * 4000])
def test_another_file_is_refused_and_not_changed(path, contents):
    write(path, contents)
    with pytest.raises(JournalError, match="is not a journal, and is not overwritten"):
        JournalFile(path)
    with open(path, "rb") as file:
        assert file.read() == contents


def test_a_later_version_is_refused(path):
    data = bytearray(WHOLE)
    data[16] = 2
    write(path, data)
    with pytest.raises(JournalError, match=r"has version 2.*versions up to 1"):
        JournalFile(path)


def test_a_missing_folder_is_an_error_of_the_journal(tmp_path):
    with pytest.raises(JournalError, match=r"cannot be opened as a journal.*No such file"):
        JournalFile(str(tmp_path / "no" / "run.journal"))
    with pytest.raises(JournalError, match=r"is not a file|Is a directory"):
        JournalFile(str(tmp_path))


OPEN = "import sys; from bsbpool.journal.file import JournalFile; JournalFile(sys.argv[1])"


def opened_by_another_process(path):
    command = [sys.executable, "-c", OPEN, path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_journal_has_one_user(path):
    file = JournalFile(path)
    with pytest.raises(JournalError, match="in use by another pool of this process"):
        JournalFile(path)
    done = opened_by_another_process(path)
    assert done.returncode == 1
    assert "in use by another process" in done.stderr
    child = os.fork()
    if child == 0:  # children do not inherit the lock, and closing it there does not release it
        file.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert opened_by_another_process(path).returncode == 1
    file.close()
    assert opened_by_another_process(path).returncode == 0


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="has only POSIX locks")
def test_reading_a_journal_does_not_unlock_it(path):
    file = JournalFile(path)
    with open(path, "rb") as copy:
        copy.read()
    assert opened_by_another_process(path).returncode == 1
    file.close()
    assert opened_by_another_process(path).returncode == 0


def test_a_forked_child_that_lives_on_does_not_keep_the_lock(path):
    file = JournalFile(path)
    ready, is_ready = os.pipe()
    until, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(is_ready, b"x")
        os.read(until, 1)
        os._exit(0)
    os.close(until)
    try:
        assert os.read(ready, 1) == b"x"
        file.close()
        JournalFile(path).close()
    finally:
        os.close(end)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(is_ready)


def test_a_write_that_fails_leaves_whole_records(path, monkeypatch):
    file = JournalFile(path)
    buffer = RecordBuffer()
    for i in range(5):
        buffer.add(RecordKind.ENDED, SUCCESS, 1, key(i), b"x" * 50)
    batch = buffer.take()
    batch.seal()
    size = len(batch) // 5
    write_at = os.pwrite
    calls = []

    def full_disk(fd, data, offset):
        calls.append(offset)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_at(fd, data[: 2 * size + 10], offset)

    monkeypatch.setattr(os, "pwrite", full_disk)
    with pytest.raises(OSError, match="No space"):
        file.append(batch)
    assert file.end == os.stat(path).st_size == HEADER + 2 * size
    monkeypatch.undo()
    file.close()
    again = JournalFile(path)
    assert (len(again.table), again.torn) == (2, 0)
    again.close()


def test_an_interrupt_of_a_write_loses_no_records(path, monkeypatch):
    write_at = os.pwrite

    def interrupted(*args):
        write_at(*args)
        raise KeyboardInterrupt

    for first, second in ((1, 2), (3, 4)):
        file = JournalFile(path)
        monkeypatch.setattr(os, "pwrite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.append(_end_of(first))
        monkeypatch.undo()
        assert file.end == os.stat(path).st_size
        file.append(_end_of(second))
        file.close()
    again = JournalFile(path)
    assert len(again.table) == 4
    again.close()


def _end_of(i):
    """Return a batch with the end of a job."""
    buffer = RecordBuffer()
    buffer.add(RecordKind.ENDED, SUCCESS, 1, key(i), b"x" * i)
    batch = buffer.take()
    batch.seal()
    return batch


def test_records_in_the_result_of_a_job_are_not_read(path):
    """A job can return a journal; if its record is torn or damaged, its contents are no records."""
    inner = bytes(_end_of(7))
    buffer = RecordBuffer()
    payload = b"." * 100 + inner + b"." * 3000
    buffer.add(RecordKind.ENDED, SUCCESS, 1, key(1), payload, [inner, b""], text=b"text")
    batch = buffer.take()
    batch.seal()
    outer = bytearray(batch)
    for end in (200 + len(inner), 3000, len(outer) - 1):
        table = KeyTable()
        assert table.read(outer[:end], 0) == (0, [], [])
        assert len(table) == 0
    outer[-1] ^= 1
    table = KeyTable()
    whole = outer + bytes(_end_of(8))
    assert table.read(whole, 0) == (len(whole), [(0, len(outer))], [])
    assert (table.get(key(7)), len(table)) == (None, 1)


def test_a_link_to_a_journal_remains_one(path, tmp_path):
    link = str(tmp_path / "link")
    os.symlink(path, link)
    for _ in range(2):
        file = JournalFile(link)
        file.append(_end_of(1))
        file.close()
        compact(link)
    assert os.path.islink(link)
    assert JournalContents(path).n_jobs == 1
    assert sorted(os.listdir(tmp_path)) == ["link", "run.journal"]


def test_a_file_that_was_replaced_is_closed(path, monkeypatch):
    """The lock was that of another file; the next attempt fails before the file is open."""
    write(path, WHOLE)
    fds = []
    open_file = os.open

    def replaced(name, *args):
        if name == path and fds:
            raise OSError(errno.EIO, "no")
        fd = open_file(name, *args)
        if name == path:
            fds.append(fd)
            os.rename(path, f"{path}.old")
            write_here(path)
        return fd

    def write_here(name):
        with open(name, "wb"):
            pass

    closed = []
    close = os.close
    monkeypatch.setattr(os, "open", replaced)
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), close(fd)))
    with pytest.raises(JournalError, match="cannot be opened"):
        JournalFile(path)
    monkeypatch.undo()
    assert closed == fds
