"""The file of a trace: an object with the list of events, and what `bsbpool report` needs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from bsbpool import __version__
from bsbpool._core.jobs.trace_text import TraceText
from bsbpool.listeners import trace_events
from bsbpool.listeners.trace_texts import further_members, name_member

_HEADER = b'{"traceEvents":[\n'
JOBS_PER_WRITE = 4096
COUNTER_POINTS = 2000


class TraceFile:
    """A file of trace events. It is valid JSON, except while a pool is added.

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
        with open(self._path, "wb") as file:
            file.write(_HEADER)
            self._end = file.tell()
            file.write(self._footer())

    def add(self, recording: Any, labels: bool, max_arrows: int) -> None:
        """Append the events of a pool."""
        pid = len(self._pools) + 1
        context = recording.context
        text = TraceText(
            context.submitter,
            context.times,
            name_member,
            further_members,
            labels,
            context.ranks_of_jobs,
            pid,
            self._origin,
            max(1, len(context.run.hosts)),
        )
        with open(self._path, "r+b") as file:
            file.seek(self._end)
            first = self._end == len(_HEADER)
            for chunk in self._chunks(recording, pid, text, max_arrows):
                if chunk:
                    file.write(chunk if first else b",\n" + chunk)
                    first = False
            self._end = file.tell()
            self._pools.append(trace_events.summary(recording, pid, self._origin, text))
            file.write(self._footer())
            file.truncate()

    def _chunks(
        self, recording: Any, pid: int, text: TraceText, max_arrows: int
    ) -> Iterator[bytes]:
        origin = self._origin
        yield _joined(trace_events.names(recording, pid))
        yield _joined(trace_events.phases(recording, pid, origin))
        while slices := text.slices(JOBS_PER_WRITE):
            yield slices
        while (arrows := text.arrows(JOBS_PER_WRITE, max_arrows)) is not None:
            yield arrows
        yield _joined(trace_events.job_counts(text.counts(COUNTER_POINTS), pid))
        yield _joined(trace_events.memory(recording, pid, origin))

    def _footer(self) -> bytes:
        details = {"version": __version__, "began": self._began, "pools": self._pools}
        other = {"tool": f"bsbpool {__version__}"}
        return (
            f'\n],\n"displayTimeUnit":"ms",\n"otherData":{json.dumps(other)},\n'
            f'"bsbpool":{json.dumps(details)}}}\n'
        ).encode()


def _joined(events: Iterable[str]) -> bytes:
    return ",\n".join(events).encode()
