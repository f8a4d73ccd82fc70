"""Capturing what a job writes to stdout and stderr, and sending it while the job runs.

In the main thread the file descriptors 1 and 2 are replaced by pipes, so that the output of
subprocesses and of libraries is captured, too. A thread reads the pipes. In other threads, only
what the thread of the job itself writes to `sys.stdout` and `sys.stderr` is captured, since other
threads of the process may write there as well.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO

from bsbpool._core.runtime.fault_report import set_stderr

FIRST_BYTES = 384 * 1024
LAST_BYTES = 128 * 1024
"""Of the output of a job, the first and the last bytes of each stream are kept."""
PIECE = 3_000
"""Bytes that are sent at a time; with them a message stays below 4 KiB."""
SECONDS_BETWEEN_PIECES = 0.05
READ_SIZE = 1 << 16

Send = Callable[[int, bytes], None]
NAMES = {1: "stdout", 2: "stderr"}


@contextmanager
def capturing(send: Send) -> Iterator[None]:
    """Capture the output of the calling thread or process.

    Parameters
    ----------
    send : callable
        Called with a stream (1 for stdout, 2 for stderr) and a piece of its output, from any
        thread.
    """
    streams = {stream: BoundedStream(stream, send) for stream in NAMES}
    is_main = threading.current_thread() is threading.main_thread()
    with _of_process(streams) if is_main else _of_thread(streams):
        yield


class BoundedStream:
    """Sends the output of one stream in pieces; drops the middle of a large output."""

    def __init__(self, stream: int, send: Send) -> None:
        self._stream = stream
        self._send = send
        self._pending = bytearray()
        self._left = FIRST_BYTES
        self._tail = bytearray()
        self._dropped = 0
        self._sent_at = 0.0

    def add(self, data: bytes) -> None:
        """Add output."""
        first = data[: self._left]
        self._left -= len(first)
        self._pending += first
        self._tail += data[len(first) :]
        if len(self._tail) > 2 * LAST_BYTES:
            self._shorten_tail()

    def _shorten_tail(self) -> None:
        surplus = len(self._tail) - LAST_BYTES
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus

    @property
    def due_in(self) -> float | None:
        """The seconds until output must be sent; None if there is none."""
        if not self._pending:
            return None
        if len(self._pending) >= PIECE:
            return 0.0
        return max(self._sent_at + SECONDS_BETWEEN_PIECES - time.monotonic(), 0.0)

    def send_due(self) -> None:
        """Send the output that is due."""
        if self.due_in == 0.0:
            self.flush()

    def flush(self) -> None:
        """Send the output that was added so far, except the tail of a large output."""
        pending, self._pending = bytes(self._pending), bytearray()
        for start in range(0, len(pending), PIECE):
            self._send(self._stream, pending[start : start + PIECE])
        self._sent_at = time.monotonic()

    def close(self) -> None:
        """Send the rest."""
        self._shorten_tail()
        if self._dropped:
            note = f"\n... {self._dropped:,} bytes of {NAMES[self._stream]} left out ...\n"
            self._pending += note.encode()
        self._pending += self._tail
        self._tail = bytearray()
        self.flush()


# ------------------------------------------------------------------ a process


@contextmanager
def _of_process(streams: dict[int, BoundedStream]) -> Iterator[None]:
    _flush()
    with ExitStack() as stack:
        reader = _PipeReader(streams)
        stack.callback(reader.stop)
        for fd, name in NAMES.items():
            stack.enter_context(_redirected(fd, reader.write_end(fd)))
            stack.callback(setattr, sys, name, getattr(sys, name))
            setattr(sys, name, _text_stream(fd))
            stack.callback(_flush)
        reader.start()
        yield


@contextmanager
def _redirected(fd: int, target: int) -> Iterator[None]:
    """Let a file descriptor refer to the open file `target`, which is closed here."""
    saved = os.dup(fd)
    os.dup2(target, fd)
    os.close(target)
    if fd == 2:
        set_stderr(saved)
    try:
        yield
    finally:
        if fd == 2:
            set_stderr(2)
        os.dup2(saved, fd)
        os.close(saved)


def _text_stream(fd: int) -> TextIO:
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # there may be no stream
            stream.flush()


class _PipeReader:
    """A thread that reads the pipes."""

    def __init__(self, streams: dict[int, BoundedStream]) -> None:
        self._streams = streams
        self._by_fd: dict[int, BoundedStream] = {}
        self._write_ends: dict[int, int] = {}
        for stream, sink in streams.items():
            read_end, self._write_ends[stream] = os.pipe()
            os.set_blocking(read_end, False)
            self._by_fd[read_end] = sink
        self._wake_fd, self._stop_fd = os.pipe()
        self._thread = threading.Thread(target=self._run, name="bsbpool-capture", daemon=True)

    def write_end(self, stream: int) -> int:
        """Return the file descriptor that a stream is written to; the caller closes it."""
        return self._write_ends[stream]

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read what was written so far, and end.

        Processes that the job has started may still have the pipes; what they write later is lost.
        """
        os.close(self._stop_fd)
        if self._thread.ident is not None:
            self._thread.join()
        for fd in (*self._by_fd, self._wake_fd):
            os.close(fd)

    def _run(self) -> None:
        poll = select.poll()
        for fd in (*self._by_fd, self._wake_fd):
            poll.register(fd, select.POLLIN)
        stopped = False
        while not stopped:
            due = [sink.due_in for sink in self._by_fd.values()]
            waits = [seconds for seconds in due if seconds is not None]
            events = poll.poll(min(waits) * 1000 + 1 if waits else None)
            stopped = any(fd == self._wake_fd for fd, _ in events)
            for fd, _ in events:
                if fd != self._wake_fd and not self._read(fd, until_empty=False):
                    poll.unregister(fd)
            for sink in self._by_fd.values():
                sink.send_due()
        for fd, sink in self._by_fd.items():
            self._read(fd, until_empty=True)
            sink.close()

    def _read(self, fd: int, until_empty: bool) -> bool:
        """Read a pipe; return False at its end."""
        while True:
            try:
                data = os.read(fd, READ_SIZE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._by_fd[fd].add(data)
            if not until_empty:
                return True


# ------------------------------------------------------------------ a thread


@contextmanager
def _of_thread(streams: dict[int, BoundedStream]) -> Iterator[None]:
    replaced = {name: getattr(sys, name) for name in NAMES.values()}
    with ExitStack() as stack:
        for stream, sink in streams.items():
            name = NAMES[stream]
            thread_stream: Any = _ThreadStream(sink, replaced[name])
            setattr(sys, name, thread_stream)
            stack.callback(sink.close)
            stack.callback(_restore, name, thread_stream, replaced[name])
        yield


def _restore(name: str, ours: Any, before: Any) -> None:
    if getattr(sys, name) is ours:  # else another capture, which began later, has replaced it
        setattr(sys, name, before)


class _ThreadStream(io.TextIOBase):
    """Captures what the thread that made it writes; others write to the stream before it."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, sink: BoundedStream, other: Any) -> None:
        self._sink = sink
        self._other = other
        self._thread = threading.get_ident()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if threading.get_ident() != self._thread:
            written: int = self._other.write(text)
            return written
        self._sink.add(text.encode("utf-8", "backslashreplace"))
        self._sink.send_due()
        return len(text)

    def flush(self) -> None:
        if threading.get_ident() != self._thread and self._other is not None:
            self._other.flush()
