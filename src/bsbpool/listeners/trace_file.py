"""The file of a trace: an object with the list of events, and what `bsbpool report` needs."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from bsbpool import __version__
from bsbpool._core.jobs.trace_text import TraceText
from bsbpool.listeners import trace_events
from bsbpool.listeners.trace_texts import attempt_members, further_members, name_member

_HEADER = b'{"traceEvents":[\n'
JOBS_PER_WRITE = 4096
COUNTER_POINTS = 2000
BYTES_PER_COPY = 1 << 20


class TraceFile:
    """A file of trace events. It is valid JSON, except while a pool is added at its end.

    Parameters
    ----------
    path : str
        Its path.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # the program may change its folder
        self._origin = time.monotonic_ns()
        self._began = time.time()
        self._pools: list[dict[str, Any]] = []
        self._can_be_replaced = True
        with open(self._path, "wb") as file:
            file.write(_HEADER)
            self._end = file.tell()
            file.write(self._footer(self._pools, is_complete=False))
            self._can_be_replaced = os.path.isfile(self._path) and not os.path.islink(self._path)

    def add(self, recording: Any, labels: bool, max_arrows: int) -> None:
        """Append the events of a pool."""
        with open(self._path, "r+b") as file:
            file.seek(self._end)
            summary = self._write_pool(file, recording, labels, max_arrows)
            self._end = file.tell()
            self._pools.append(summary)
            file.write(self._footer(self._pools))
            file.truncate()

    def write_so_far(self, recording: Any, labels: bool, max_arrows: int) -> None:
        """Replace the file by one that has also the events of a pool so far.

        A program that is killed meanwhile leaves the file as it was. The next call of this, or of
        `add`, replaces these events.
        """
        if not self._can_be_replaced:
            return
        part = f"{self._path}.part"
        try:
            with open(self._path, "rb") as old, open(part, "wb") as file:
                shutil.copymode(self._path, part)
                _copy(old, file, self._end)
                summary = self._write_pool(file, recording, labels, max_arrows)
                file.write(self._footer([*self._pools, summary], is_complete=False))
            os.replace(part, self._path)
        except OSError:  # the folder is not writable, or full: the file is written at the end
            self._can_be_replaced = False
            with suppress(OSError):
                os.unlink(part)

    def _write_pool(
        self, file: BinaryIO, recording: Any, labels: bool, max_arrows: int
    ) -> dict[str, Any]:
        """Write the events of a pool; return its summary."""
        pid = len(self._pools) + 1
        context = recording.context
        text = TraceText(
            context.submitter,
            context.times,
            name_member,
            further_members,
            attempt_members,
            labels,
            context.ranks_of_jobs,
            pid,
            self._origin,
            max(1, len(context.run.hosts)),
        )
        first = self._end == len(_HEADER)
        for chunk in self._chunks(recording, pid, text, max_arrows):
            if chunk:
                file.write(chunk if first else b",\n" + chunk)
                first = False
        return trace_events.summary(recording, pid, self._origin, text)

    def _chunks(
        self, recording: Any, pid: int, text: TraceText, max_arrows: int
    ) -> Iterator[bytes]:
        origin = self._origin
        yield _joined(trace_events.names(recording, pid))
        yield _joined(trace_events.phases(recording, pid, origin))
        while slices := text.slices(JOBS_PER_WRITE):
            yield slices
        yield _joined(trace_events.running_jobs(recording, pid, origin, text))
        while (arrows := text.arrows(JOBS_PER_WRITE, max_arrows)) is not None:
            yield arrows
        yield _joined(trace_events.job_counts(text.counts(COUNTER_POINTS), pid))
        yield _joined(trace_events.memory(recording, pid, origin))

    def _footer(self, pools: list[dict[str, Any]], is_complete: bool = True) -> bytes:
        details = {
            "version": __version__,
            "began": self._began,
            "complete": is_complete,
            "pools": pools,
        }
        other = {"tool": f"bsbpool {__version__}"}
        return (
            f'\n],\n"displayTimeUnit":"ms",\n"otherData":{json.dumps(other)},\n'
            f'"bsbpool":{json.dumps(details)}}}\n'
        ).encode()


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Copy the first bytes of a file."""
    while size > 0 and (content := source.read(min(size, BYTES_PER_COPY))):
        target.write(content)
        size -= len(content)


def _joined(events: Iterable[str]) -> bytes:
    return ",\n".join(events).encode()
