"""What cache items are called.

Items are known by `CacheId`: the number that bsb gives an item for whoever looks,
but different items stay different when their numbers are equal.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

_named: dict[int, int] = {}
"""The token of the first name that showed a number, for callers who give plain numbers."""


class CacheId(int):
    """The id of a cache item: crc32 of its name as a number, 64 bits as identity.

    Two ids are equal when their tokens are; an id equals a plain int of its number.

    Attributes
    ----------
    token : int
        What ranks know the item by.
    """

    token: int

    def __new__(cls, name: str) -> CacheId:
        """Make the id of a name."""
        data = name.encode()
        # crc32 collides from some ten thousand names on; the upper half tells them apart.
        salt = int.from_bytes(blake2b(data, digest_size=4).digest(), "little") or 1
        number = zlib.crc32(data)
        token = salt << 32 | number
        _named.setdefault(number, token)
        return cls.of(token)

    @classmethod
    def of(cls, token: int) -> CacheId:
        """Make the id of a token."""
        self = super().__new__(cls, visible_id(token))
        self.token = token
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CacheId) and self.token >> 32 and other.token >> 32:
            return self.token == other.token
        return int(self) == int(other) if isinstance(other, int) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the token."""
        return CacheId.of, (self.token,)


def token_of(id: int) -> int:
    """Return the 64-bit number that the ranks know an item by."""
    if isinstance(id, CacheId):
        return id.token
    # A plain number, as bsb's own ids are: it means the item that shows this number.
    return _named.get(int(id), int(id) & (1 << 64) - 1)


def visible_id(token: int) -> int:
    """Return the number that a token shows to callers: the crc32 of a `CacheId`."""
    return token & 0xFFFFFFFF if token >> 32 else token


def ids_of(tokens: Iterable[int]) -> set[CacheId]:
    """Return the ids of tokens from the core, as a set that the caller may change."""
    return set(map(CacheId.of, tokens))
