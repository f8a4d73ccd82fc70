"""The command ``bsbpool journal``."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zlib

import pytest

from bsbpool import WorkflowError, create_job_pool
from bsbpool._core.journal.records import RecordBuffer, RecordKind, parse
from bsbpool.cli import main
from bsbpool.journal import Journal
from bsbpool.journal.file import JournalFile


class Bomb:
    """Cannot be loaded."""

    def __reduce__(self):
        return pickle.loads, (b"not a pickle",)


def square(owner, x):
    return x * x


def fail(owner):
    raise ValueError("no luck")


def large(owner):
    return b"x" * 5000


@pytest.fixture
def path(tmp_path):
    """Make a journal of two runs: 5 squares, 3 new in the second; a failure; a large result."""
    path = str(tmp_path / "run.journal")
    journal = Journal(path, side_file_size=1000)
    for n in (2, 5):
        with create_job_pool(quiet=True, journal=journal, timestamps=True) as pool:
            pool.queue_many(square, zip(range(n)))
            pool.options(retries=1, key="failure").submit(fail)
            pool.submit(large)
            with pytest.raises(WorkflowError):
                pool.execute()
    return path


def run(capsys, *arguments):
    code = main(["journal", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def resumed(path, n):
    journal = Journal(path, side_file_size=1000)
    with create_job_pool(quiet=True, journal=journal) as pool:
        jobs = [*pool.queue_many(square, zip(range(n))), pool.submit(large)]
        pool.execute()
        assert [job.result for job in jobs] == [*(x * x for x in range(n)), b"x" * 5000]
        return pool.run_context.journal.n_resumed


def test_show(path, capsys):
    code, out, _ = run(capsys, "show", path)
    assert code == 0
    assert "7 jobs" in out
    assert "2 runs; the last one at" in out
    table = {line.split()[-1]: line.split()[:-1] for line in out.splitlines()[3:]}
    assert table["function"] == ["SUCCESS", "FAILED", "bytes"]
    assert table["square"][:2] == ["5", "0"]
    assert table["fail"][:2] == ["0", "1"]
    assert table["large"][:2] == ["1", "0"]


def test_show_jobs_as_lines_and_as_json(path, capsys):
    code, out, _ = run(capsys, "show", "--jobs", path)
    assert code == 0
    assert len(out.splitlines()) == 7
    (failed,) = [line for line in out.splitlines() if "FAILED" in line]
    assert "fail after" in failed
    assert failed.endswith(": ValueError: no luck")
    _, out, _ = run(capsys, "show", "--json", path)
    jobs = [json.loads(line) for line in out.splitlines()]
    by_name = {job["name"]: job for job in jobs}
    assert (by_name["fail"]["attempts"], by_name["fail"]["rank"]) == (3, 0)
    assert by_name["large"]["side_file"] == os.listdir(f"{path}.d")[0]
    assert by_name["large"]["size"] > 5000


def test_the_reader_of_the_output_may_close_it(tmp_path):
    path = str(tmp_path / "many.journal")
    with create_job_pool(quiet=True, journal=path) as pool:
        pool.queue_many(square, zip(range(2000)))  # more than fits into a pipe
        pool.execute()
    command = [sys.executable, "-m", "bsbpool", "journal", "show", "--jobs", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert b"SUCCESS" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_results_are_not_loaded(tmp_path, capsys):
    path = str(tmp_path / "j")
    with create_job_pool(quiet=True, journal=path) as pool:
        pool.submit(lambda owner: Bomb())
        pool.execute()
    for action in ("show", "verify", "compact"):
        assert run(capsys, action, path)[0] == 0


def test_verify_finds_damage(path, capsys):
    assert run(capsys, "verify", path) == (0, f"{path}: 7 jobs, 0 problems\n", "")
    with open(path, "r+b") as file:
        file.seek(900)
        byte = file.read(1)
        file.seek(900)
        file.write(bytes([byte[0] ^ 4]))
    with open(path, "ab") as file:
        file.write(b"part of a record")
    (name,) = os.listdir(f"{path}.d")
    with open(f"{path}.d/{name}", "r+b") as file:
        file.write(b"x")
    code, out, _ = run(capsys, "verify", path)
    assert code == 1
    assert "damaged from byte" in out
    assert "the last 16 bytes are no whole record" in out
    assert "is damaged: its checksum is wrong" in out
    os.unlink(f"{path}.d/{name}")
    assert "is missing; its job runs again" in run(capsys, "verify", path)[1]


def test_a_journal_in_use_can_be_read(path, capsys):
    file = JournalFile(path)
    assert run(capsys, "show", path)[0] == run(capsys, "verify", path)[0] == 0
    code, _, err = run(capsys, "compact", path)
    assert (code, "in use" in err) == (1, True)
    file.close()


def test_compact_keeps_what_is_known(path, capsys):
    with open(f"{path}.d/old.pickle", "wb"):
        pass
    before = os.stat(path).st_size
    _, shown, _ = run(capsys, "show", "--json", path)
    code, out, _ = run(capsys, "compact", path)
    assert code == 0
    assert f"{before:,} bytes before" in out
    assert os.stat(path).st_size < before
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert run(capsys, "show", "--json", path)[1] == shown
    assert run(capsys, "verify", path)[0] == 0
    assert len(os.listdir(f"{path}.d")) == 1
    assert resumed(path, 7) == 6


def test_compact_repairs_a_damaged_header(path, capsys):
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(b"\xff")
    assert "the header of" in run(capsys, "verify", path)[1]
    with open(path, "rb") as file:
        data = file.read()
    assert run(capsys, "compact", path)[0] == 0
    assert data != open(path, "rb").read()  # noqa: SIM115
    assert run(capsys, "verify", path)[0] == 0
    assert resumed(path, 5) == 6


def test_compact_keeps_attempts_of_jobs_that_have_not_ended(tmp_path, capsys):
    path = str(tmp_path / "j")
    ran = []

    def attempt(owner):
        ran.append(1)
        if len(ran) == 2:
            raise KeyboardInterrupt
        raise ValueError("no")

    for n in (2, 3):
        with create_job_pool(quiet=True, journal=path) as pool:
            pool.options(retries=1, key="k").submit(attempt)
            with pytest.raises((KeyboardInterrupt, WorkflowError)):
                pool.execute()
        assert len(ran) == n
        assert run(capsys, "compact", path)[0] == 0


def test_compact_keeps_attempts_after_an_end(tmp_path, capsys):
    path = str(tmp_path / "j")
    buffer = RecordBuffer()
    buffer.add(RecordKind.ENDED, 4, 0, b"k" * 16, attempts=2)
    buffer.add(RecordKind.ATTEMPT, 4, 0, b"k" * 16, b"error", attempts=3)  # of a later run
    buffer.add(RecordKind.ENDED, 3, 0, b"m" * 16, attempts=2)
    batch = buffer.take()
    batch.seal()
    file = JournalFile(path)
    file.append(batch)
    file.close()
    for _ in range(2):
        assert run(capsys, "compact", path)[0] == 0
        file = JournalFile(path)
        found = [file.table.get(key * 16) for key in (b"k", b"m")]
        file.close()
        assert [(status, attempts) for status, _, attempts, _ in found] == [(4, 3), (3, 2)]


def test_other_files(tmp_path, capsys):
    other = tmp_path / "other"
    other.write_text("text" * 400)
    for action in ("show", "verify", "compact"):
        code, _, err = run(capsys, action, str(other))
        assert (code, "is not a journal" in err) == (1, True)
        code, _, err = run(capsys, action, str(tmp_path / "missing"))
        assert (code, "No such file" in err) == (1, True)
    assert other.read_text() == "text" * 400
    with pytest.raises(SystemExit) as error:
        main(["journal", "print", str(other)])
    assert error.value.code == 2


def record(kind, n_buffers=0, status=3):
    """Return a record with a correct checksum."""
    body = bytearray(64)
    body[:3] = kind, status, 1
    struct.pack_into("<I", body, 48, n_buffers)
    size = struct.pack("<I", len(body))
    crc = zlib.crc32(body) ^ zlib.crc32(size)
    return struct.pack("<I", 0x8B4A52BD) + size + struct.pack("<I", crc) + body


@pytest.mark.parametrize("n_buffers", [1, 0x4000_0000, 0xFFFF_FFFF])
@pytest.mark.parametrize("kind", [1, 4])
def test_sizes_outside_of_a_record_are_not_read(tmp_path, capsys, kind, n_buffers):
    with pytest.raises(ValueError, match="has wrong sizes"):
        parse(record(kind, n_buffers))
    path = tmp_path / "j"
    JournalFile(str(path)).close()
    with open(path, "ab") as file:
        file.write(record(kind, n_buffers))
    for action in (["show"], ["show", "--jobs"], ["verify"], ["compact"]):
        code, _, err = run(capsys, *action, str(path))
        assert (code, "Traceback" in err) == (int(action == ["verify"]), False), action
        JournalFile(str(path)).close()


def test_unknown_statuses_are_shown(tmp_path, capsys):
    path = tmp_path / "j"
    JournalFile(str(path)).close()
    with open(path, "ab") as file:
        file.write(record(1, status=77))
    for action in (["show"], ["show", "--jobs"], ["show", "--json"], ["verify"], ["compact"]):
        assert run(capsys, *action, str(path))[0] == 0
    assert "status 77" in run(capsys, "show", "--jobs", str(path))[1]


def test_another_run_can_use_a_compacted_journal_at_once(path, capsys, monkeypatch):
    """The run begins as soon as the new file has its name; compacting must not touch its files."""
    (old,) = os.listdir(f"{path}.d")
    os.rename(f"{path}.d/{old}", f"{path}.d/unknown")
    rename = os.rename

    def rename_and_run(source, target):
        rename(source, target)
        if target == path:
            monkeypatch.undo()
            assert resumed(path, 5) == 5
            with open(f"{path}.new", "w"):  # another compaction
                pass

    monkeypatch.setattr(os, "rename", rename_and_run)
    assert run(capsys, "compact", path)[0] == 0
    assert os.listdir(f"{path}.d") == [old]
    assert run(capsys, "verify", path)[0] == 0
    assert os.path.exists(f"{path}.new")
