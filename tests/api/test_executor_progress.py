"""The progress of calls and maps of executors: the final counts are true, however they end."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from bsbpool.futures import PoolExecutor
from bsbpool.futures.call_progress import CallProgress
from bsbpool.listeners import LogListener

from .on_ranks import on_ranks

N_ITEMS = 400


def slow(n: int) -> int:
    time.sleep(0.001)
    return n


class Unreadable(Exception):
    """Can be unpickled once, as the worker does to try it."""

    n_loaded = 0

    def __reduce__(self) -> Any:
        return load, ()


def load() -> Unreadable:
    Unreadable.n_loaded += 1
    if Unreadable.n_loaded > 1:
        raise OSError("unreadable")
    return Unreadable()


def raises(n: int) -> int:
    if n == 7:
        raise Unreadable
    return n


def read_one(mapped: Iterator[Any], executor: PoolExecutor) -> None:
    for _ in mapped:
        break


def close(mapped: Any, executor: PoolExecutor) -> None:
    next(mapped)
    mapped.close()


def read_none(mapped: Iterator[Any], executor: PoolExecutor) -> None:
    pass


def time_out(mapped: Iterator[Any], executor: PoolExecutor) -> None:
    with pytest.raises(TimeoutError):
        list(mapped)


def cancel(mapped: Iterator[Any], executor: PoolExecutor) -> None:
    next(mapped)
    executor.shutdown(cancel_futures=True)


STOPS = [
    (read_one, {}), (read_one, {"unordered": True}), (close, {}), (read_none, {}),
    (time_out, {"timeout": 0.02}), (cancel, {}),
]  # fmt: skip


def counts_of(file: io.StringIO) -> dict[str, int]:
    """Return the counts in the summary that was printed."""
    (line,) = [line for line in file.getvalue().splitlines() if " jobs succeeded" in line]
    (succeeded, total), *_ = re.findall(r"(\d+)/(\d+) jobs succeeded", line)
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (running|failed|cancelled)", line)}
    return counts | {"succeeded": int(succeeded), "total": int(total)}


def check_maps_that_stop() -> None:
    """All items are counted, and as succeeded only those of chunks that ran."""
    for stop, options in STOPS:
        file = io.StringIO()
        with PoolExecutor(progress=LogListener(file)) as executor:
            if executor is None:
                continue
            mapped = executor.map(slow, range(N_ITEMS), chunksize=4, **options)
            stop(mapped, executor)
            del mapped
        if executor is not None:
            counts = counts_of(file)
            assert counts.keys() == {"succeeded", "cancelled", "total"}, (stop, counts)
            assert counts["total"] == N_ITEMS == counts["succeeded"] + counts["cancelled"], counts
            assert counts["succeeded"] % 4 == 0


def test_a_map_that_stops() -> None:
    check_maps_that_stop()


@on_ranks(3)
def test_a_map_that_stops_on_ranks() -> None:
    check_maps_that_stop()


def test_a_map_whose_error_cannot_be_read() -> None:
    file = io.StringIO()
    executor = PoolExecutor(progress=LogListener(file))
    with executor, pytest.raises(OSError, match="unreadable"):
        list(executor.map(raises, range(12), chunksize=6))
    assert counts_of(file) == {"succeeded": 7, "failed": 1, "cancelled": 4, "total": 12}


# ------------------------------------------------------------------ several threads


@pytest.fixture
def counting() -> tuple[CallProgress, LogListener]:
    listener = LogListener(io.StringIO())
    return CallProgress(listener), listener


def ended_chunk(n: int, cancelled: bool = False) -> Any:
    future: Any = Future()
    future.n_items = n
    if cancelled:
        future.cancel()
    else:
        future.set_result((None, None, 0.0, 0))
    return future


def test_a_chunk_that_is_sent_while_its_map_is_closed(counting: Any) -> None:
    progress, listener = counting
    started = progress.map_started(abs, 10)
    started.sent(3)
    started.close()
    started.sent(2)
    started.close()
    total = listener.kinds.sum()
    assert (total.total, total.cancelled, total.left) == (10, 5, 5)
    started.chunk_ended(ended_chunk(2, cancelled=True))
    started.chunk_ended(ended_chunk(3))
    total = listener.kinds.sum()
    assert (total.succeeded, total.cancelled, total.left) == (3, 7, 0)
    progress.end()
    assert counts_of(listener._file) == {"succeeded": 3, "cancelled": 7, "total": 10}


def test_items_that_were_read_and_not_sent(counting: Any) -> None:
    progress, listener = counting
    progress.map_started(abs, 10).sent(4)
    progress.end()
    assert counts_of(listener._file) == {"succeeded": 0, "cancelled": 10, "total": 10}


def test_a_call_that_another_thread_cancels_at_the_end(counting: Any) -> None:
    progress, listener = counting
    future: Any = Future()
    progress.submitted(future, abs)
    progress.end()
    future.cancel()
    assert counts_of(listener._file) == {"succeeded": 0, "cancelled": 1, "total": 1}
    assert listener.kinds.sum().cancelled == 1
