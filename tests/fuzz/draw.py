"""Decisions from bytes, so that a fuzzer of bytes finds messages.

A fuzzer changes bytes; frames that consist of these bytes would mostly be refused. So the
targets read their input as a sequence of decisions, and build frames that are valid except for a
few details. Without bytes left a decision is 0, and 0 is the ordinary choice.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

HEADER = struct.Struct("=HBBIIIQ")
RECORD = struct.Struct("=BBHIqQQ")
MAGIC, VERSION = 0x6270, 1
PAYLOAD_OUT = 0x80
EDGES = [
    0, 1, 2, 7, 8, 9, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**46, 2**46 + 1, 2**61, 2**63 - 1, 2**63, 2**64 - 40, 2**64 - 8, 2**64 - 7, 2**64 - 1,
]  # fmt: skip


class Message(NamedTuple):
    """What arrives: a frame and the parts that come with it."""

    frame: bytes
    parts: list[bytes]


class Draw:
    """Takes decisions from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, n: int) -> bytes:
        """Take at most `n` bytes."""
        taken = self._data[self._at : self._at + n]
        self._at += n
        return taken

    def byte(self) -> int:
        """Take a number below 256."""
        return int.from_bytes(self.bytes(1), "little")

    def rarely(self) -> bool:
        """Take a decision that mostly is no."""
        return self.byte() > 240

    def one_of(self, choices: Sequence[T]) -> T:
        """Take one of some, the first of which is the ordinary one."""
        return choices[self.byte() % len(choices)]

    def number(self, bits: int) -> int:
        """Take a number that is likely to be in somebody's way."""
        kind = self.byte()
        if kind < 160:
            value = kind % 16
        elif kind < 240:
            value = EDGES[kind % len(EDGES)]
        else:
            value = int.from_bytes(self.bytes(8), "little")
        return value % 2**bits

    def message(self, run_id: int, kinds: Sequence[int], payloads: Sequence[bytes]) -> Message:
        """Take a frame: records of these kinds, with payloads of their own or from these."""
        if self.rarely():
            return Message(self.bytes(self.byte()), [])
        parts: list[bytes] = []
        n_records = 1 + self.byte() % 4
        body = b"".join(self.record(kinds, payloads, parts) for _ in range(n_records))
        listed = [self.number(64) if self.rarely() else len(part) for part in parts]
        body += struct.pack(f"={len(listed)}Q", *listed)
        header = [MAGIC, VERSION, 0, run_id, n_records, len(parts), HEADER.size + len(body)]
        if self.rarely():
            place = self.byte() % len(header)
            header[place] = self.number([16, 8, 8, 32, 32, 32, 64][place])
        if self.rarely():
            parts = parts[self.byte() % 3 :]
        return Message(HEADER.pack(*header) + body, parts)

    def record(self, kinds: Sequence[int], payloads: Sequence[bytes], parts: list[bytes]) -> bytes:
        """Take a record; what travels beside the frame is added to `parts`."""
        kind = self.byte() if self.rarely() else self.one_of(kinds)
        flags = self.one_of([1, 0, 9, 0x19, 0x18, 5, 2, 3, *range(16, 128, 7)])
        payload = self.one_of(payloads) if self.byte() < 200 else self.bytes(self.byte())
        mine = [self.bytes(self.byte() % 40) for _ in range(self.byte() // 64)]
        if self.byte() > 220:
            flags |= PAYLOAD_OUT
            mine, payload = [payload, *mine], b""
        parts += mine
        id, aux, extra = self.number(64), self.number(32), self.number(64)
        size, n_parts = len(payload), len(mine)
        if self.rarely():
            size = self.number(64)
        if self.rarely():
            n_parts = self.number(16)
        if self.rarely():
            flags ^= PAYLOAD_OUT
        id -= 2**64 if id >= 2**63 else 0
        padding = bytes(-len(payload) % 8)
        return RECORD.pack(kind, flags, n_parts, aux, id, size, extra) + payload + padding
