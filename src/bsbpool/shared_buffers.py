"""A pickle and its buffers in memory that the processes of a machine share, read-only."""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

SWITCH = "BSBPOOL_SHARED_MEMORY"
"""An environment variable: 0 if processes of a machine cannot share memory."""
ALIGNMENT = 64


def is_available() -> bool:
    """Whether this process can make memory that others can open."""
    return hasattr(os, "memfd_create") and os.environ.get(SWITCH, "1") != "0"


class SharedBuffers:
    """A pickle and its buffers in one file in memory.

    The file has no name. Other processes open it by the number of the process that made it, so it
    ends with the last process that has it open, however that ends.

    Parameters
    ----------
    file : int
        The descriptor of the file, which is closed with this object.
    sizes : sequence of int
        The sizes of the pickle and of the buffers, in bytes.

    Attributes
    ----------
    description : bytes
        What another process passes to `open_shared`.
    """

    def __init__(self, file: int, sizes: Sequence[int]) -> None:
        self._file = file
        self._sizes = tuple(sizes)
        self._parts: tuple[memoryview, list[memoryview]] | None = None
        self.description = pickle.dumps((os.getpid(), file, _identity(file), self._sizes))

    def parts(self) -> tuple[memoryview, list[memoryview]]:
        """Return the pickle and its buffers; the memory is mapped on the first call."""
        if self._parts is None:
            total = sum(map(_aligned, self._sizes))
            view = memoryview(mmap.mmap(self._file, total, access=mmap.ACCESS_READ))
            self._parts = self._split(view)
        return self._parts

    def private_parts(self) -> tuple[memoryview, list[memoryview]]:
        """Return the pickle and its buffers in memory that the caller may change.

        Pages are copied when they are changed, so this takes no time for large buffers.
        """
        total = sum(map(_aligned, self._sizes))
        return self._split(memoryview(mmap.mmap(self._file, total, access=mmap.ACCESS_COPY)))

    def _split(self, view: memoryview) -> tuple[memoryview, list[memoryview]]:
        parts = []
        at = 0
        for size in self._sizes:
            parts.append(view[at : at + size])
            at += _aligned(size)
        return parts[0], parts[1:]

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._file)


def share(payload: Any, buffers: Sequence[Any]) -> SharedBuffers:
    """Copy a pickle and its buffers into shared memory.

    Raises
    ------
    OSError
        If there is not enough memory.
    """
    views = [memoryview(part).cast("B") for part in (payload, *buffers)]
    file = os.memfd_create("bsbpool-broadcast", os.MFD_CLOEXEC)
    made = SharedBuffers(file, [view.nbytes for view in views])
    os.ftruncate(file, sum(_aligned(view.nbytes) for view in views))
    at = 0
    for view in views:
        _write(file, at, view)
        at += _aligned(view.nbytes)
    return made


def open_shared(description: bytes) -> SharedBuffers:
    """Open what another process of this machine has shared.

    Raises
    ------
    OSError
        If that process has ended, or is in another container.
    """
    process, number, identity, sizes = pickle.loads(description)
    try:
        file = os.open(f"/proc/{process}/fd/{number}", os.O_RDONLY | os.O_CLOEXEC)
        if _identity(file) != identity:
            os.close(file)
            raise FileNotFoundError("the file was closed")  # and its number is in use again
    except OSError as error:
        error.add_note(
            "An object that was broadcast is in the memory of another process of this machine, "
            f"which cannot be opened here. Set {SWITCH}=0 to send such objects to each rank."
        )
        raise
    return SharedBuffers(file, sizes)


def _identity(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def _aligned(size: int) -> int:
    return max(-(-size // ALIGNMENT), 1) * ALIGNMENT


def _write(file: int, at: int, view: memoryview) -> None:
    while view:
        n = os.pwrite(file, view, at)
        view = view[n:]
        at += n
