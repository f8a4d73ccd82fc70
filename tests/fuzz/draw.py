"""Builds messages from the bytes of a fuzzer.

If the bytes were used as frames, nearly all frames would be rejected. So each byte is a decision
from which a frame is built that is valid except for a few details. When no bytes are left, each
decision is 0, the usual choice.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")

FIELDS = "HBBIIIQqQII"
HEADER = struct.Struct(f"={FIELDS}")
HEADER_BITS = [63 if code == "q" else 8 * struct.calcsize(f"={code}") for code in FIELDS]
RECORD = struct.Struct("=BBHIqQQ")
MAGIC, VERSION = 0x6270, 4
PAYLOAD_OUT = 0x80
EDGES = [
    0, 1, 2, 7, 8, 9, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**46, 2**46 + 1, 2**61, 2**63 - 1, 2**63, 2**64 - 40, 2**64 - 8, 2**64 - 7, 2**64 - 1,
]  # fmt: skip


class Message(NamedTuple):
    """A frame and its parts."""

    frame: bytes
    parts: list[bytes]


class Draw:
    """Reads decisions from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, n: int) -> bytes:
        """Read at most `n` bytes."""
        taken = self._data[self._at : self._at + n]
        self._at += n
        return taken

    def byte(self) -> int:
        """Read a number below 256; 0 when no bytes are left."""
        return int.from_bytes(self.bytes(1), "little")

    def is_rare(self) -> bool:
        """Read a decision that is False in 15 of 16 cases."""
        return self.byte() > 240

    def choose(self, choices: Sequence[T]) -> T:
        """Read a choice; the first one is the usual one."""
        return choices[self.byte() % len(choices)]

    def number(self, bits: int) -> int:
        """Read a number: a small one, one of `EDGES`, or any."""
        kind = self.byte()
        if kind < 160:
            value = kind % 16
        elif kind < 240:
            value = EDGES[kind % len(EDGES)]
        else:
            value = int.from_bytes(self.bytes(8), "little")
        return value % 2**bits

    def message(self, run_id: int, kinds: Sequence[int], payloads: Sequence[bytes]) -> Message:
        """Read a message with records of some kinds, and payloads from a list or from the input."""
        if self.is_rare():
            return Message(self.bytes(self.byte()), [])
        parts: list[bytes] = []
        n_records = 1 + self.byte() % 4
        body = b"".join(self.record(kinds, payloads, parts) for _ in range(n_records))
        listed = [self.number(64) if self.is_rare() else len(part) for part in parts]
        body += struct.pack(f"={len(listed)}Q", *listed)
        size = HEADER.size + len(body)
        header = [MAGIC, VERSION, 0, run_id, n_records, len(parts), size, *[0] * (len(FIELDS) - 7)]
        if self.is_rare():
            place = self.byte() % len(header)
            header[place] = self.number(HEADER_BITS[place])
        if self.is_rare():
            parts = parts[self.byte() % 3 :]
        return Message(HEADER.pack(*header) + body, parts)

    def record(self, kinds: Sequence[int], payloads: Sequence[bytes], parts: list[bytes]) -> bytes:
        """Read a record; its parts are appended to `parts`."""
        kind = self.byte() if self.is_rare() else self.choose(kinds)
        flags = self.choose([1, 0, 9, 0x19, 0x18, 5, 2, 3, *range(16, 128, 7)])
        payload = self.choose(payloads) if self.byte() < 200 else self.bytes(self.byte())
        mine = [self.bytes(self.byte() % 40) for _ in range(self.byte() // 64)]
        if self.byte() > 220:
            flags |= PAYLOAD_OUT
            mine, payload = [payload, *mine], b""
        parts += mine
        id, aux, extra = self.number(64), self.number(32), self.number(64)
        size, n_parts = len(payload), len(mine)
        if self.is_rare():
            size = self.number(64)
        if self.is_rare():
            n_parts = self.number(16)
        if self.is_rare():
            flags ^= PAYLOAD_OUT
        id -= 2**64 if id >= 2**63 else 0
        padding = bytes(-len(payload) % 8)
        return RECORD.pack(kind, flags, n_parts, aux, id, size, extra) + payload + padding
