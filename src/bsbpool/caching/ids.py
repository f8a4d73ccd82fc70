"""The ids of cache items.

The visible number of an item is a crc32, which is the same for some pairs of items. A `CacheId` has
this number as its value, and distinguishes such items by a 64-bit token.
"""

from __future__ import annotations

from collections.abc import Iterable

from bsbpool._typing import Any

_named: dict[int, int] = {}
"""For each number the token of the first name with it, for callers that use plain numbers."""


class CacheId(int):
    """The id of a cache item: a number, the crc32 of its name, with a 64-bit token.

    Two ids are equal if their tokens are equal. An id is equal to the plain int of its number.

    Attributes
    ----------
    token : int
        The identity of the item, the same on all ranks.
    """

    token: int

    def __new__(cls, name: str) -> CacheId:
        """Return the id of a name."""
        import zlib  # here, since pools without cache items need neither of them
        from hashlib import blake2b

        data = name.encode()
        # Among some ten thousand names, crc32 has collisions; the upper half distinguishes them.
        salt = int.from_bytes(blake2b(data, digest_size=4).digest(), "little") or 1
        number = zlib.crc32(data)
        token = salt << 32 | number
        _named.setdefault(number, token)
        return cls.of(token)

    @classmethod
    def of(cls, token: int) -> CacheId:
        """Return the id of a token."""
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
        """Pickle the token only."""
        return CacheId.of, (self.token,)


def token_of(id: int) -> int:
    """Return the token of an item."""
    if isinstance(id, CacheId):
        return id.token
    # A plain number stands for the item with this visible number.
    return _named.get(int(id), int(id) & (1 << 64) - 1)


def visible_id(token: int) -> int:
    """Return the visible number of a token: the crc32 of its name."""
    return token & 0xFFFFFFFF if token >> 32 else token


def ids_of(tokens: Iterable[int]) -> set[CacheId]:
    """Return the ids of tokens as a new set."""
    return set(map(CacheId.of, tokens))
