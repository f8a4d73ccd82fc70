"""Maps of an executor with a journal: each item is a call of its own.

Chunks depend on run times, so those of another run would be other calls.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bsbpool.futures.future import PoolFuture


def start_journaled_map(
    executor: Any, f: Callable[..., Any], items: Iterable[Any], options: Any
) -> Iterator[Any]:
    """Submit a call for each item; return an iterator over the results."""
    end = None if options.timeout is None else time.monotonic() + options.timeout
    calls = (
        executor.submit(f, *(item if options.star else (item,))) for item in iter(items)
    )
    sent: deque[PoolFuture[Any]] = deque()
    for future in calls:
        sent.append(future)
        if options.buffersize is not None and len(sent) >= options.buffersize:
            break
    return _results(sent, calls, end, options.unordered)


def _results(
    sent: deque[PoolFuture[Any]], calls: Iterator[PoolFuture[Any]], end: float | None,
    unordered: bool,
) -> Iterator[Any]:  # fmt: skip
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    try:
        if unordered:
            for future in sent:
                future.add_done_callback(done.put)
        while sent:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            if unordered:
                try:
                    future = done.get(timeout=left)
                except queue.Empty:
                    raise TimeoutError from None
                sent.remove(future)
            else:
                future = sent.popleft()
            value = future.result(None if end is None else max(end - time.monotonic(), 0.0))
            following = next(calls, None)
            if following is not None:
                sent.append(following)
                if unordered:
                    following.add_done_callback(done.put)
            yield value
    finally:
        for future in sent:
            future.cancel()
