"""A bound on the memory that results take on main, and the file for what is above it.

Results are kept as the pickles that they came as. Those for which there is no room any more
are written to a file without a name, one behind the other, and read whenever somebody asks.
Nothing is taken out before the pool closes, so the file needs no order.
"""

from __future__ import annotations

import logging
import operator
import os
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from bsbpool._core.jobs.handle import Packed, Spilled
from bsbpool._core.protocol import scalar_codec
from bsbpool.naming import add_note, brief, error_text
from bsbpool.serialization import dumps, loads

_log = logging.getLogger("bsbpool")

MOST_CHECKED = 4_096
"""Results of at most this many pickled bytes are unpickled once when they are kept, as a check."""
SMALL = 128
"""Results of this many bytes at most are not counted: their handles take more."""


class ResultStore:
    """Keeps the results of a pool. Any thread may keep and read.

    Parameters
    ----------
    max_memory : int
        Bytes of results to hold in memory.

    Attributes
    ----------
    held : int
        Bytes of results in memory, but for small ones.
    spilled : int
        Bytes in the file.

    Raises
    ------
    TypeError, ValueError
        When `max_memory` is not a number of bytes.
    """

    def __init__(self, max_memory: int) -> None:
        self._most = _checked(max_memory)
        self.held = 0
        self.spilled = 0
        self._file: Any = None
        self._closed = False
        self._lock = threading.RLock()  # the collector may read a result at any time
        self._warned: set[str] = set()

    def keep(self, payload: Any, buffers: list[Any]) -> Packed | Spilled:
        """Keep a pickle and its buffers, in memory or in the file.

        Memory that was handed over in `buffers` is free once they are in the file.
        """
        sizes = tuple(map(len, buffers))
        size = len(payload) + sum(sizes)
        if size <= SMALL:
            return Packed(payload, buffers)
        with self._lock:
            trouble = None
            if self.held + size > self._most:
                try:
                    return self._spill(payload, buffers, size, sizes)
                except OSError as error:
                    trouble = error
            self.held += size
        if trouble is not None:
            self._warn("cannot be written to a file", trouble)
        return Packed(payload, buffers)

    def keep_value(self, value: Any) -> Any:
        """Keep what a job in this process returned; what cannot be pickled stays as it is.

        Raises
        ------
        BaseException
            What is no Exception, as SystemExit, when pickling raises it.
        """
        small = scalar_codec.dumps(value)
        if small is not None and len(small) <= SMALL:
            return value  # cannot change
        try:
            payload, buffers = dumps(value)
            if len(payload) <= MOST_CHECKED and not buffers:
                loads(payload)
        except Exception as error:
            self._warn("cannot be pickled", error)
            return value
        except BaseException as error:
            add_note(error, f"The result of the job, {brief(value)}, cannot be pickled.")
            raise
        kept = self.keep(payload, buffers)
        if isinstance(kept, Packed) and buffers:
            # They are views of arrays that the job may have left to others.
            return Packed(payload, [bytearray(buffer) for buffer in buffers])
        return kept

    def read(self, offset: int, size: int, sizes: Sequence[int]) -> tuple[bytearray, list[Any]]:
        """Return a pickle and its buffers from the file, in memory of their own."""
        with self._lock:  # nobody closes the file meanwhile
            if self._closed:
                raise ValueError("the `with` block of the pool has ended")
            parts = []
            for n in (size, *sizes):
                parts.append(self._read_at(offset, n))
                offset += n
        return parts[0], parts[1:]

    def close(self) -> None:
        """Let the file go, with what is in it."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _spill(
        self, payload: Any, buffers: list[Any], size: int, sizes: tuple[int, ...]
    ) -> Spilled:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - by `close`
        start = self.spilled
        try:
            offset = start
            for part in (payload, *buffers):
                offset = self._write_at(offset, part)
        except OSError:
            os.ftruncate(self._file.fileno(), start)  # others may need the room
            raise
        self.spilled += size
        return Spilled(self, start, len(payload), sizes)

    def _write_at(self, offset: int, part: Any) -> int:
        view = memoryview(part)
        while view:  # the system may take less than it is given
            n = os.pwrite(self._file.fileno(), view, offset)
            view = view[n:]
            offset += n
        return offset

    def _read_at(self, offset: int, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            n = os.preadv(self._file.fileno(), [view], offset)
            if n == 0:
                raise OSError("the temporary file of results has been truncated")
            view = view[n:]
            offset += n
        return data

    def _warn(self, trouble: str, error: Exception) -> None:
        """Say it once. Without the lock: who hears it may look at results."""
        if trouble not in self._warned:
            self._warned.add(trouble)
            reason = error_text(error)
            _log.warning("max_memory: a result %s and stays in memory: %s", trouble, reason)


def _checked(max_memory: Any) -> int:
    try:
        if isinstance(max_memory, bool):
            raise TypeError
        most = operator.index(max_memory)
    except TypeError:
        raise TypeError(
            f"max_memory must be an integer number of bytes or None, got {brief(max_memory)}"
        ) from None
    if most < 0:
        raise ValueError(f"max_memory must not be negative, got {brief(max_memory)}")
    return most
