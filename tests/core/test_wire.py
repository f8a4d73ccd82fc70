"""The layout of frames: what is written is read again, and nothing else is believed."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbpool._core.protocol.frames import (
    FrameWriter,
    MalformedFrameError,
    read_frame,
    read_part_sizes,
)
from bsbpool._core.protocol.wire import RecordKind

HEADER = struct.Struct("=HBBIIIQqQII")
RECORD = struct.Struct("=BBHIqQQ")
MAGIC, VERSION = 0x6270, 4
PAYLOAD_OUT = 0x80
OUT_OF_BAND = 32 * 1024


def unsigned(bits):
    return st.integers(0, 2**bits - 1)


RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(RecordKind) | unsigned(8),
            "id": st.integers(-(2**63), 2**63 - 1),
            "aux": unsigned(32),
            "flags": unsigned(7),
            "extra": unsigned(64),
            "payload": st.none() | st.binary(max_size=100),
            "buffers": st.lists(st.binary(max_size=20).map(memoryview), max_size=3),
        }
    ),
    max_size=6,
)


def written(records, run_id=0):
    writer = FrameWriter()
    for record in records:
        writer.add(**record)
    assert len(writer) == len(records)
    return writer.to_bytes(run_id)


def header(n_records, size, *, magic=MAGIC, version=VERSION, run_id=0, n_parts=0):
    return HEADER.pack(magic, version, 0, run_id, n_records, n_parts, size, 0, 0, 0, 0)


def frame(*records, n_parts=0, tail=b""):
    body = b"".join(records) + tail
    return header(len(records), HEADER.size + len(body), n_parts=n_parts) + body


def refused_or_read(data):
    try:
        records = read_frame(data)
    except MalformedFrameError:
        return None
    assert all(len(record[5]) <= len(data) for record in records)
    return records


@given(RECORDS, unsigned(32))
def test_written_frames_are_read(records, run_id):
    data = written(records, run_id)
    assert len(data) % 8 == 0
    assert HEADER.unpack_from(data)[3] == run_id
    assert read_frame(data) == [
        (r["kind"], r["id"], r["aux"], r["flags"], r["extra"], r["payload"] or b"",
         len(r["buffers"]))
        for r in records
    ]  # fmt: skip


@given(RECORDS.filter(bool))
def test_a_writer_starts_a_new_frame_after_each_frame(records):
    writer = FrameWriter()
    for _ in range(2):
        for record in records:
            writer.add(**record)
        assert writer.to_bytes() == written(records)
        assert (len(writer), writer.size) == (0, 0)


def test_the_layout_is_as_documented():
    data = written([{"kind": 1, "id": -2, "aux": 3, "flags": 4, "extra": 5, "payload": b"six"}], 9)
    record = RECORD.pack(1, 4, 0, 3, -2, 3, 5) + b"six".ljust(8, b"\0")
    assert data == header(1, HEADER.size + len(record), run_id=9) + record


@pytest.mark.parametrize("size", [OUT_OF_BAND - 1, OUT_OF_BAND])
def test_a_large_payload_is_listed_and_not_copied(size):
    data = written([{"kind": 1, "id": 0, "payload": bytes(size), "buffers": [memoryview(b"abc")]}])
    [(_, _, _, flags, _, body, n_parts)] = read_frame(data)
    out = size >= OUT_OF_BAND
    assert (flags, len(body), n_parts) == ((PAYLOAD_OUT, 0, 2) if out else (0, size, 1))
    listed = data[-8 * n_parts :]
    assert struct.unpack(f"={n_parts}Q", listed) == ((size, 3) if out else (3,))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"kind": 256}, OverflowError),
        ({"aux": 2**32}, OverflowError),
        ({"id": 2**63}, OverflowError),
        ({"extra": -1}, OverflowError),
        ({"payload": bytearray(b"abc")}, TypeError),
        ({"buffers": [b"abc"]}, TypeError),
        ({"buffers": [memoryview(bytes(10))[::2]]}, TypeError),
        ({"buffers": [memoryview(b"")] * 0xFFFF}, ValueError),
    ],
)
def test_a_record_that_does_not_fit_is_refused(wrong, error):
    writer = FrameWriter()
    with pytest.raises(error):
        writer.add(**{"kind": 1, "id": 0} | wrong)
    assert len(writer) == 0


# Invalid bytes are refused or read as some list, without a crash or a read out of bounds

SAMPLE = written(
    [
        {"kind": 1, "id": 1, "payload": b"hello"},
        {"kind": 2, "id": 2, "payload": bytes(OUT_OF_BAND), "buffers": [memoryview(b"xyz")]},
        {"kind": 3, "id": 3, "payload": b""},
    ]
)
HUGE = [2**16, 2**31, 2**32, 2**63 - 1, 2**64 - 40, 2**64 - 8, 2**64 - 1]


def test_every_truncation_is_refused():
    assert read_frame(SAMPLE)
    for n in range(len(SAMPLE)):
        with pytest.raises(MalformedFrameError):
            read_frame(SAMPLE[:n])


@pytest.mark.parametrize("size", [len(SAMPLE) - 1, len(SAMPLE) + 1, 0, HEADER.size, *HUGE])
def test_a_header_of_another_size_is_refused(size):
    for data in (SAMPLE, SAMPLE + b"\0", SAMPLE[:-8]):
        if len(data) != size:
            with pytest.raises(MalformedFrameError):
                read_frame(data[:16] + struct.pack("=Q", size) + data[24:])


def test_every_flipped_bit_is_refused_or_read():
    flipped = bytearray(SAMPLE)
    for bit in range(8 * len(SAMPLE)):
        flipped[bit // 8] ^= 1 << bit % 8
        refused_or_read(flipped)
        flipped[bit // 8] ^= 1 << bit % 8


@given(st.binary(max_size=200), unsigned(3), unsigned(3))
def test_random_bytes_after_a_valid_header(tail, n_records, n_parts):
    size = HEADER.size + len(tail)
    refused_or_read(header(n_records, size, n_parts=n_parts) + tail)
    refused_or_read(tail)


@pytest.mark.parametrize("seed", range(20))
def test_random_changes_of_a_good_frame(seed):
    draw = random.Random(seed)
    for _ in range(500):
        data = bytearray(SAMPLE)
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(len(data))] = draw.choice([0, 1, 0x7F, 0x80, 0xFF])
        refused_or_read(data)


@pytest.mark.parametrize("size", [*HUGE, 1, 8, 9])
def test_a_payload_larger_than_its_frame_is_refused(size):
    with pytest.raises(MalformedFrameError):
        read_frame(frame(RECORD.pack(1, 0, 0, 0, 0, size, 0)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header(0, 24, magic=0x7062),
        header(0, 24, version=VERSION + 1),
        header(1, 24),
        header(2**32 - 1, 24),
        header(0, 24, n_parts=1),
        header(0, 24, n_parts=2**32 - 1),
        header(0, 24 + 8) + bytes(8),
        frame(RECORD.pack(1, 0, 1, 0, 0, 0, 0)),
        frame(RECORD.pack(1, 0, 0xFFFF, 0, 0, 0, 0), n_parts=1, tail=bytes(8)),
        frame(RECORD.pack(1, 0, 0, 0, 0, 0, 0), n_parts=1, tail=bytes(8)),
        frame(RECORD.pack(1, PAYLOAD_OUT, 0, 0, 0, 0, 0)),
        frame(RECORD.pack(1, PAYLOAD_OUT, 1, 0, 0, 8, 0), n_parts=1, tail=bytes(16)),
    ],
    ids=[
        "nothing", "byte order", "version", "no record", "very many records", "part not listed",
        "very many parts", "more than the records", "part of nobody", "parts of others",
        "unclaimed part", "payload out without a part", "payload both in and out",
    ],
)  # fmt: skip
def test_inconsistent_frames_are_refused(data):
    with pytest.raises(MalformedFrameError):
        read_frame(data)


def test_an_empty_frame_is_a_frame():
    assert read_frame(header(0, HEADER.size)) == []
    assert FrameWriter().to_bytes() == header(0, HEADER.size)


def listing(*sizes):
    return header(0, HEADER.size + 8 * len(sizes), n_parts=len(sizes)) + struct.pack(
        f"={len(sizes)}Q", *sizes
    )


@pytest.mark.parametrize("sizes", [(), (0,), (3, 0, 2**46 - 3), (2**40,) * 64])
def test_sizes_of_parts_are_read(sizes):
    assert read_part_sizes(listing(*sizes)) == [*sizes]


@pytest.mark.parametrize(
    "sizes", [(2**46 + 1,), (1, 2**46), (2**63, 2**63), (8, 2**64 - 8), (2**64 - 1,) * 9]
)
def test_parts_larger_than_memory_are_refused(sizes):
    """Also those whose sum would overflow to a small number."""
    with pytest.raises(MalformedFrameError):
        read_part_sizes(listing(*sizes))
