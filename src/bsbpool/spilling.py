"""A limit on the memory that results take on the main rank, and the file for further results.

Results are kept as the pickles in which they were received. Results beyond the limit are appended
to an unnamed temporary file, and read from it on each access. Nothing is removed from the file
before the pool closes, so it needs no index of free space.
"""

from __future__ import annotations

import operator
import os
import tempfile
import threading
from collections.abc import Sequence

from bsbpool._core.jobs.handle import PickledResult, SpilledResult
from bsbpool._core.protocol import scalar_codec
from bsbpool._typing import Any
from bsbpool.logs import logger
from bsbpool.naming import add_note, brief, error_text
from bsbpool.serialization import copies_of, dumps, loads

_log = logger("results")

MOST_CHECKED = 4_096
"""Maximum pickled size in bytes of results that are unpickled once to check that they can be."""
SMALL = 128
"""Maximum size in bytes of results that do not count: their handles take more memory."""


class ResultStore:
    """Stores the results of a pool. Thread-safe.

    Parameters
    ----------
    max_memory : int
        Maximum size in bytes of the results in memory.

    Attributes
    ----------
    held : int
        Bytes of results in memory, without small results.
    spilled : int
        Bytes in the file.

    Raises
    ------
    TypeError, ValueError
        If `max_memory` is not a number of bytes.
    """

    def __init__(self, max_memory: int) -> None:
        self._most = _checked(max_memory)
        self.held = 0
        self.spilled = 0
        self._file: Any = None
        self._closed = False
        self._lock = threading.RLock()  # reentrant: garbage collection may read a result
        self._warned: set[str] = set()

    def keep(self, payload: Any, buffers: list[Any]) -> PickledResult | SpilledResult:
        """Store a pickle and its buffers, in memory or in the file.

        The store keeps no reference to buffers that it wrote to the file.
        """
        sizes = tuple(map(len, buffers))
        size = len(payload) + sum(sizes)
        if size <= SMALL:
            return PickledResult(payload, buffers)
        with self._lock:
            problem = None
            if self.held + size > self._most:
                try:
                    return self._spill(payload, buffers, size, sizes)
                except OSError as error:
                    problem = error
            self.held += size
        if problem is not None:
            self._warn("cannot be written to a file", problem)
        return PickledResult(payload, buffers)

    def keep_value(self, value: Any) -> Any:
        """Store the result of a job of this process; return what the job keeps.

        A result that cannot be pickled is returned unchanged, with a warning in the log.

        Raises
        ------
        BaseException
            An error of pickling that is not an `Exception`, such as SystemExit.
        """
        small = scalar_codec.dumps(value)
        if small is not None and len(small) <= SMALL and not scalar_codec.is_mutable(small):
            return value
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
        if isinstance(kept, PickledResult) and buffers:
            # The buffers are views of arrays that other code may still change.
            return PickledResult(payload, copies_of(buffers))
        return kept

    def read(self, offset: int, size: int, sizes: Sequence[int]) -> tuple[bytearray, list[Any]]:
        """Read a pickle and its buffers from the file into new memory."""
        with self._lock:  # the file must not be closed meanwhile
            if self._closed:
                raise ValueError("the `with` block of the pool has ended")
            parts = []
            for n in (size, *sizes):
                parts.append(self._read_at(offset, n))
                offset += n
        return parts[0], parts[1:]

    def close(self) -> None:
        """Close the file, which deletes it."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _spill(
        self, payload: Any, buffers: list[Any], size: int, sizes: tuple[int, ...]
    ) -> SpilledResult:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - by `close`
        start = self.spilled
        try:
            offset = start
            for part in (payload, *buffers):
                offset = self._write_at(offset, part)
        except OSError:
            os.ftruncate(self._file.fileno(), start)  # free the disk space
            raise
        self.spilled += size
        return SpilledResult(self, start, len(payload), sizes)

    def _write_at(self, offset: int, part: Any) -> int:
        view = memoryview(part)
        while view:  # a write may be partial
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
                raise OSError("the temporary file is too short: another program has truncated it")
            view = view[n:]
            offset += n
        return data

    def _warn(self, problem: str, error: Exception) -> None:
        """Log a warning once. Called without the lock, since log handlers may read results."""
        if problem not in self._warned:
            self._warned.add(problem)
            reason = error_text(error)
            _log.warning("max_memory: a result %s and stays in memory: %s", problem, reason)


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
        raise ValueError(f"max_memory must be at least 0, got {brief(max_memory)}")
    return most
