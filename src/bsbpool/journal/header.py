"""The header of a journal file: 512 bytes that tell which program wrote it."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import struct
import sys
import zlib
from typing import Any

from bsbpool import __version__, exceptions

MAGIC = b"bsbpool journal\n"
VERSION = 1
SIZE = 512
_FIELDS = struct.Struct("<16sIII")  # the magic, the version, the size and CRC of the JSON text


def pack(contents: dict[str, Any]) -> bytes:
    """Return a header; `contents` are shortened if they are too long."""
    for longest in (200, 60, 0):
        text = json.dumps(
            {k: v[-longest:] if longest and isinstance(v, str) else v for k, v in contents.items()}
            if longest
            else {}
        ).encode()
        if len(text) <= SIZE - _FIELDS.size:
            break
    fields = _FIELDS.pack(MAGIC, VERSION, len(text), zlib.crc32(text))
    return (fields + text).ljust(SIZE, b"\0")


def unpack(data: bytes, path: str) -> dict[str, Any]:
    """Return the contents of a header.

    Raises
    ------
    JournalError
        If this is no journal, the format is of a later version, or the header is damaged.
    """
    if not data.startswith(MAGIC):
        raise exceptions.JournalError(
            f"{path} is not a journal, and is not overwritten; give another path, or move it away"
        )
    _, version, size, crc = _FIELDS.unpack_from(data)
    if version > VERSION:
        raise exceptions.JournalError(
            f"{path} has version {version} of the format of journals; bsbpool {__version__} reads "
            f"versions up to {VERSION}; use the bsbpool that wrote it, or move the file away"
        )
    text = data[_FIELDS.size : _FIELDS.size + size]
    if version < 1 or not 2 <= size <= SIZE - _FIELDS.size or zlib.crc32(text) != crc:
        raise exceptions.JournalError(
            f"the header of {path} is damaged; `bsbpool journal compact` writes a new one and "
            "keeps the intact records"
        )
    contents: dict[str, Any] = json.loads(text)
    return contents


def is_begun(data: bytes) -> bool:
    """Whether a file that is shorter than a header is one whose header was written in part."""
    return len(data) < SIZE and (data[: len(MAGIC)] == MAGIC[: len(data)])


def of_this_program() -> dict[str, Any]:
    """Return the contents of the header of a new journal."""
    return {
        "bsbpool": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        **program(),
        "created": now(),
    }


def of_this_run() -> dict[str, Any]:
    """Return the contents of the record that begins a run."""
    return {**of_this_program(), "host": os.uname().nodename, "pid": os.getpid()}


def program() -> dict[str, str]:
    """Return the path and the digest of the script that runs."""
    path = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    digest = ""
    if path:
        try:
            with open(path, "rb") as file:
                digest = hashlib.blake2b(file.read(), digest_size=8).hexdigest()
        except OSError:
            path = ""
    return {"program": os.path.abspath(path) if path else "", "digest": digest}


def now() -> str:
    """Return the present time as a text."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
