"""What ran on this rank: strategies, hooks and operations write down when and where they work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

entries: list[dict[str, Any]] = []


def take() -> list[dict[str, Any]]:
    """Return what was written down since the last call."""
    taken, entries[:] = list(entries), []
    return taken


def write_down(name: str, chunks: Any, work: Callable[..., Any], *args: Any) -> Any:
    """Do some work and write it down."""
    begin = time.monotonic()  # one clock for all processes of a machine
    try:
        return work(*args)
    finally:
        in_main = threading.current_thread() is threading.main_thread()
        entries.append(
            {
                "name": name,
                "chunks": None if chunks is None else [int(chunk.id) for chunk in chunks],
                "begin": begin,
                "end": time.monotonic(),
                "in_main_thread": in_main,
            }
        )
