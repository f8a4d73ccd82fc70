"""Large results, each in a file of its own next to the journal."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any

from bsbpool.journal.private import check_private

CHUNK = 1 << 20


class SideFiles:
    """The folder with the large results of a journal.

    Parameters
    ----------
    journal : str
        The path of the journal. The folder is ``<path>.d``.
    """

    def __init__(self, journal: str) -> None:
        self.folder = f"{journal}.d"

    def check(self) -> None:
        """Refuse a folder that other users can write.

        Raises
        ------
        JournalError
            If there is such a folder.
        """
        with contextlib.suppress(FileNotFoundError):
            check_private(self.folder, os.stat(self.folder), "700")

    def path_of(self, reference: dict[str, Any]) -> str:
        """Return the path of the file of a result."""
        return os.path.join(self.folder, os.path.basename(reference["name"]))

    def has(self, reference: dict[str, Any]) -> bool:
        """Whether the file of a result is there in full length."""
        try:
            size = os.stat(self.path_of(reference)).st_size
        except OSError:
            return False
        return bool(size == sum(reference["sizes"]))

    def write(self, reference: dict[str, Any], parts: Sequence[Any], sync: bool) -> None:
        """Write the file of a result; it gets its name when it is complete.

        Raises
        ------
        OSError
            If it cannot be written.
        JournalError
            If other users can write the folder.
        """
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.check()
        path = self.path_of(reference)
        unfinished = f"{path}.part"
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb", buffering=0) as file:
                for part in parts:
                    view = memoryview(part).cast("B")
                    while view:
                        view = view[file.write(view) :]
                if sync:
                    os.fsync(fd)
            os.rename(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise

    def read(self, reference: dict[str, Any]) -> tuple[bytearray, list[bytearray]]:
        """Return a pickle and its buffers.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read or is damaged.
        """
        parts = []
        with open(self.path_of(reference), "rb", buffering=0) as file:
            for size in reference["sizes"]:
                part = bytearray(size)
                view = memoryview(part)
                while view:
                    n = file.readinto(view)
                    if not n:
                        raise ValueError(f"{file.name} is too short")
                    view = view[n:]
                parts.append(part)
        if crc_of(parts) != reference["crc"]:
            raise ValueError(f"{self.path_of(reference)} is damaged: its checksum is wrong")
        return parts[0], parts[1:]

    def unknown(self, known: set[str]) -> list[str]:
        """Return the paths of the files that no record names."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [os.path.join(self.folder, name) for name in sorted(set(names) - known)]


def reference_to(name: str, parts: Sequence[Any]) -> dict[str, Any]:
    """Return what a record tells of the file of a result."""
    sizes = [memoryview(part).nbytes for part in parts]
    return {"name": name, "sizes": sizes, "crc": crc_of(parts)}


def crc_of(parts: Sequence[Any]) -> int:
    """Return the checksum of a result."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def pack(reference: dict[str, Any]) -> bytes:
    """Return the payload of a record."""
    return json.dumps(reference).encode()


def unpack(payload: Any) -> dict[str, Any]:
    """Return the reference that a record has."""
    reference: dict[str, Any] = json.loads(bytes(payload))
    return reference
