"""A decoder of frames in plain Python, written from the description of the wire format."""

from __future__ import annotations

from .draw import HEADER, MAGIC, PAYLOAD_OUT, RECORD, VERSION

MOST_PART_BYTES = 2**46


class RejectedError(Exception):
    """The bytes are not a valid frame."""


def sections(data: bytes) -> tuple[int, bytes, list[int]]:
    """Return the number of records of a frame, their bytes, and the sizes of its parts."""
    if len(data) < HEADER.size:
        raise RejectedError
    magic, version, _, _, n_records, n_parts, size, *_ = HEADER.unpack_from(data)
    end = len(data) - 8 * n_parts
    if (magic, version, size) != (MAGIC, VERSION, len(data)) or end < HEADER.size:
        raise RejectedError
    sizes = [int.from_bytes(data[at : at + 8], "little") for at in range(end, len(data), 8)]
    return n_records, data[HEADER.size : end], sizes


def part_sizes(data: bytes) -> list[int]:
    """Return the sizes of the parts that a frame announces."""
    _, _, sizes = sections(data)
    if sum(sizes) > MOST_PART_BYTES:
        raise RejectedError
    return sizes


def records(data: bytes) -> list[tuple[int, int, int, int, int, bytes, int]]:
    """Return what `read_frame` returns."""
    n_records, body, sizes = sections(data)
    found, n_parts_left = [], len(sizes)
    for _ in range(n_records):
        if len(body) < RECORD.size:
            raise RejectedError
        kind, flags, n_parts, aux, id, size, extra = RECORD.unpack_from(body)
        body = body[RECORD.size :]
        padded = size + -size % 8
        out = flags & PAYLOAD_OUT
        if padded > len(body) or n_parts > n_parts_left or (out and (size or not n_parts)):
            raise RejectedError
        found.append((kind, id, aux, flags, extra, body[:size], n_parts))
        body = body[padded:]
        n_parts_left -= n_parts
    if body or n_parts_left:
        raise RejectedError
    return found
