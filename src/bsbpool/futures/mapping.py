"""Maps: items in chunks, sent while results are taken.

There are always a few more chunks on their way than are being run.

Without a `buffersize` all items are read at once, as by the executors of the standard library,
and chunks follow each other by themselves. With one, items are read when results are taken.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, NamedTuple

from bsbpool._core.jobs.call_arguments import check_arguments
from bsbpool.futures.backend import Backend, Call
from bsbpool.futures.chunks import are_plain, unpacked
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.items import Items
from bsbpool.futures.preparing import unpickled
from bsbpool.futures.sizes import SECONDS_A_BYTE, Sizes
from bsbpool.interrupts import is_from_signal, marking_signals
from bsbpool.naming import brief, explain, name_of
from bsbpool.remote_errors import load_error
from bsbpool.serialization import dumps, loads, out_of_band

CHUNKS_A_WORKER = 8
"""How many are on their way, so that no worker waits for the thread that sends."""


class Plan(NamedTuple):
    """How a map is to go."""

    star: bool = False
    timeout: float | None = None
    chunksize: int | None = None
    buffersize: int | None = None
    unordered: bool = False
    call_options: dict[str, Any] | None = None


class Stream:
    """The chunks of one map.

    Parameters
    ----------
    backend : Backend
        Who runs them.
    f : callable
        What is called with each item.
    items : iterable
        Items; tuples of arguments if the plan says `star`.
    plan : Plan
        How.

    Attributes
    ----------
    eager : bool
        Whether it goes on by itself, and not only while results are taken.
    """

    def __init__(self, backend: Backend, f: Callable[..., Any], items: Iterable[Any], plan: Plan) -> None:
        self._backend, self._plan = backend, plan
        self._call_options = dict(plan.call_options or {})
        self._needs = self._call_options.pop("deps", ()), self._call_options.pop("cache_items", None)
        self._call_options.setdefault("name", f"map of {name_of(f)}")
        self._lock = threading.RLock()  # held while items are read, which may take long
        self._counting = threading.RLock()  # never held for long
        self.eager = plan.buffersize is None
        self._items = Items(items, plan.buffersize)
        self._end = None if plan.timeout is None else time.monotonic() + plan.timeout
        self._chunks: deque[PoolFuture] = deque()  # in the order of items
        self._done: queue.SimpleQueue[PoolFuture] = queue.SimpleQueue()
        self._on_their_way = 0  # chunks
        self._closed = self._cut_off = self._feeding = False
        self._unfit: BaseException | None = None  # why the function cannot travel
        overhead = 0.0
        with marking_signals():
            try:
                self._packing = backend.packing(f, self._items.take_known())
                payload, buffers, _ = self._packing.function
                overhead = SECONDS_A_BYTE * (len(payload) + sum(b.raw().nbytes for b in buffers))
            except BaseException as error:
                if is_from_signal(error):
                    raise
                explain(error, f"The function of the map, {name_of(f)}, cannot be pickled")
                self._unfit = error
        self._most = CHUNKS_A_WORKER * backend.n_workers
        self._sizes = Sizes(plan.chunksize, backend.n_workers, overhead)
        backend.open_stream(self)
        self.feed()

    # Out

    def feed(self) -> None:
        """Send chunks, as many as should be on their way."""
        with self._lock:
            if self._feeding:  # from inside, as a chunk could not be sent
                return
            self._feeding = True
            try:
                while self._may_send() and (items := self._read()):
                    self._send(items)
            except BaseException:  # such as Ctrl-C; items that were read are lost
                self.close()
                raise
            finally:
                self._feeding = False
                if self._items.exhausted or self._closed:
                    # After an error as well, for example Ctrl-C: the executor's end waits for it.
                    self._backend.end_stream(self)

    def _may_send(self) -> bool:
        wanted = not self._items.exhausted and not self._closed
        return wanted and self._on_their_way < self._most

    def _read(self) -> list[Any]:
        items = self._items.read(self._sizes)
        if items and self._closed:  # while the iterable let wait
            self._cut_off = True
            return []
        return items

    def _send(self, items: list[Any]) -> None:
        """Send items; one that cannot be pickled ends a chunk, and is told in its place."""
        if self._unfit is not None:
            self._items.stop(self._unfit)
            return
        if are_plain(items):
            self._send_packed(items)
            return
        if not self.eager:
            self._packing.look_at(items)
        chunk: list[Any] = []
        with marking_signals():
            for item in items:
                try:
                    chunk.append(self._packing.packed(item))
                except BaseException as error:
                    if is_from_signal(error):
                        raise
                    error = _refusal(item) or error
                    explain(error, f"An item of the map, {brief(item)}, cannot be pickled")
                    self._send_packed(chunk)
                    chunk = []
                    failed = PoolFuture(self._backend)
                    self._follow(failed)
                    failed.settle(error)
        self._send_packed(chunk)

    def _send_packed(self, chunk: list[Any]) -> None:
        if not chunk:
            return
        future = PoolFuture(self._backend)
        future.call_options, future.n_items = self._call_options, len(chunk)
        try:
            payload, buffers = dumps(chunk)
            parts = out_of_band(buffers)
            args = (self._packing.function, payload, parts, self._plan.star)
            self._backend.queue(Call(future, self._packing.call, args, {}, *self._needs), stream=self)
        except Exception as error:
            self._items.stop(error)
        else:
            self._follow(future)

    def _follow(self, future: PoolFuture) -> None:
        with self._counting:
            self._chunks.append(future)
            self._on_their_way += 1
        future.add_done_callback(self._ended)
        if self._closed:  # perhaps before it was in the list
            future.cancel()

    def _ended(self, future: Any) -> None:
        with self._counting:
            self._on_their_way -= 1
        if not future.cancelled() and future.exception() is None:
            _, _, seconds, size = future.result()
            self._sizes.saw(future.n_items, seconds, size)
        if self._plan.unordered:
            self._done.put(future)
        if self.eager:
            self.feed()

    # In

    def results(self) -> Iterator[Any]:
        """Yield what the calls return; send more meanwhile."""
        try:
            while (future := self._next()) is not None:
                yield from self._taken(future)
            if self._items.error is not None:
                raise self._items.error
            if self._cut_off or not self._items.exhausted:
                raise CancelledError
        finally:
            self.drop()

    def _next(self) -> PoolFuture | None:
        self.feed()
        while self._chunks:
            if not self._plan.unordered:
                return self._chunks.popleft()
            try:
                future = self._done.get(timeout=self._seconds())
            except queue.Empty:
                raise TimeoutError from None
            with self._counting:
                self._chunks.remove(future)
            if not future.cancelled():
                return future
            self._cut_off = True  # told when those that run have ended
        return None

    def _taken(self, future: PoolFuture) -> Iterator[Any]:
        (results, error, _, _) = future.result(self._seconds())
        values = loads(*results)
        del results, future
        values.reverse()  # so that nothing is kept of what was taken
        lazy, plain = not self.eager, list not in set(map(type, values))
        while values:
            if lazy:
                self._items.taken()
                self.feed()
            yield values.pop() if plain else unpickled(unpacked, values.pop())
        if error is not None:
            raise load_error(*error)

    def _seconds(self) -> float | None:
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    # Ends

    def drop(self) -> None:
        """Send no more, and soon cancel what has not begun, for nobody reads on.

        Takes no lock: it is called where garbage is collected, in any thread, whatever that holds.
        """
        if not self._closed and (self._chunks or not self._items.exhausted):
            self._closed = True
            self._backend.soon(self.close)

    def close(self) -> None:
        """Send no more, and cancel what has not begun; who reads on is told."""
        self._closed = True
        with self._counting:
            chunks = list(self._chunks)
        for future in chunks:
            future.cancel()
        self._backend.end_stream(self)


def _refusal(item: Any) -> TypeError | None:
    """Return the error of an item that is a job or a future; None for other items."""
    try:
        check_arguments(item if type(item) is tuple else (item,))
    except TypeError as refusal:
        return refusal
    return None


def stream(backend: Backend, f: Callable[..., Any], items: Iterable[Any], plan: Plan) -> Iterator[Any]:
    """Begin a map; return what yields its results."""
    made = Stream(backend, f, items, plan)
    results = made.results()
    # One that was never begun has no `finally` to come to.
    weakref.finalize(results, made.drop).atexit = False
    return results
