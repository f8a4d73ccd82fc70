"""Packs values for sending: immutable values of builtin types as they are, others as a pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bsbpool.naming import add_note
from bsbpool.serialization import Parcel, dumps, loads, out_of_band

PLAIN_TYPES = frozenset([type(None), bool, int, float, complex, str, bytes])
"""The types of plain values. Tuples of them are plain as well."""


def is_plain(value: Any) -> bool:
    """Whether a value is of a plain type, or a tuple of such values."""
    return type(value) in PLAIN_TYPES or (
        type(value) is tuple and PLAIN_TYPES.issuperset(map(type, value))
    )


def pack(value: Any, dumps: Callable[[Any], Parcel] = dumps) -> Any:
    """Return the form in which a value is sent: itself if plain, else [pickle, *buffers]."""
    if is_plain(value):
        return value
    payload, buffers = dumps(value)
    return [payload, *out_of_band(buffers)]


def unpack(packed: Any) -> Any:
    """Return the value that `pack` packed."""
    return loads(packed[0], packed[1:]) if type(packed) is list else packed


def load_result(load: Callable[..., Any], *args: Any) -> Any:
    """Return the result that `load` unpickles; its errors get a note."""
    try:
        return load(*args)
    except BaseException as error:
        add_note(error, "The result of the call cannot be unpickled on this rank.")
        raise
