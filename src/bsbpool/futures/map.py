"""Maps: the items are sent in chunks, while the results are read.

A few more chunks are in flight than the workers can run. Without a `buffersize`, all items are
read at once, as by the executors of the standard library, and the end of a chunk sends the next
one. With a `buffersize`, items are read and sent when results are taken.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from bsbpool._core.jobs.inputs import inputs_of
from bsbpool.futures.backend import Backend
from bsbpool.futures.call_options import CallSettings, settings_of
from bsbpool.futures.calls import Call
from bsbpool.futures.chunk_sizes import SECONDS_PER_BYTE, ChunkSizer
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.map_items import MapItems
from bsbpool.futures.packing import are_plain
from bsbpool.futures.plain_values import load_result, unpack
from bsbpool.naming import brief, explain, name_of
from bsbpool.process import is_from_signal, marking_signals
from bsbpool.remote_errors import load_error
from bsbpool.serialization import dumps, loads, out_of_band

if TYPE_CHECKING:
    from bsbpool.futures.call_progress import MapProgress

CHUNKS_PER_WORKER = 8
"""The number of chunks in flight for each worker: workers need not wait for the sending thread."""


class MapOptions(NamedTuple):
    """The arguments of `PoolExecutor.map`, and the options of its calls."""

    star: bool = False
    """Whether the items are tuples of arguments."""
    timeout: float | None = None
    chunksize: int | None = None
    buffersize: int | None = None
    unordered: bool = False
    settings: CallSettings = settings_of({})


def start_map(
    backend: Backend, f: Callable[..., Any], items: Iterable[Any], options: MapOptions
) -> Iterator[Any]:
    """Start a map and return the iterator over its results."""
    started = ChunkedMap(backend, f, items, options)
    results = started.results()
    # A generator that was never advanced does not run its `finally` clause.
    weakref.finalize(results, started.close_soon).atexit = False
    return results


class ChunkedMap:
    """The chunks of a map, and their results.

    Parameters
    ----------
    backend : Backend
        The backend that runs the chunks.
    f : callable
        The function that is called with each item.
    items : iterable
        The items.
    options : MapOptions
        The other arguments of the map.

    Attributes
    ----------
    eager : bool
        Whether chunks are sent without waiting until results are taken.
    """

    def __init__(
        self,
        backend: Backend,
        f: Callable[..., Any],
        items: Iterable[Any],
        options: MapOptions,
    ) -> None:
        self._backend, self._options = backend, options
        settings = options.settings
        self._description = {"name": f"map of {name_of(f)}"} | settings.description
        special = settings.special
        if special is not None and special.options.gather:
            raise ValueError(
                "gather=True cannot be used with a map, whose results are those of its items; use "
                "submit"
            )
        if special is not None and special.options.name is None:
            named = special.options.updated({"name": self._description["name"]})
            special = special._replace(options=named)
        self._requirements = settings.deps, settings.cache_items, special
        self._send_lock = threading.RLock()  # held while items are read, which may take long
        self._chunks_lock = threading.RLock()  # only held for a moment
        self.eager = options.buffersize is None
        self._items = MapItems(items, options.buffersize)
        self._end = None if options.timeout is None else time.monotonic() + options.timeout
        self._chunks: deque[PoolFuture[Any]] = deque()  # in the order of the items
        self._done: queue.SimpleQueue[PoolFuture[Any]] = queue.SimpleQueue()
        self._n_in_flight = 0
        self._max_in_flight = CHUNKS_PER_WORKER * backend.n_workers
        self._closed = self._cancelled = self._sending = False
        self._function_error: BaseException | None = None  # the function cannot be pickled
        overhead = self._pack_function(f)
        # The options of a call, such as `timeout`, apply to each item if they are alone.
        chunksize = options.chunksize or (settings.special and 1)
        self._sizer = ChunkSizer(chunksize, backend.n_workers, overhead)
        backend.open_map(self)
        self._progress: MapProgress | None = None
        if backend.progress is not None:
            self._progress = backend.progress.map_started(f, self._items.n_known)
        self.send()

    def _pack_function(self, f: Callable[..., Any]) -> float:
        """Pickle the function; return the seconds that sending it adds to each chunk."""
        with marking_signals():
            try:
                self._packing = self._backend.map_packing(f, self._items.take_known())
                return SECONDS_PER_BYTE * self._packing.size
            except BaseException as error:
                if is_from_signal(error):
                    raise
                explain(error, f"The function of the map, {name_of(f)}, cannot be pickled")
                self._function_error = error
                return 0.0

    # ------------------------------------------------------------ sending

    def send(self) -> None:
        """Send chunks until enough are in flight."""
        with self._send_lock:
            if self._sending:  # a nested call, because a chunk could not be sent
                return
            self._sending = True
            try:
                while self._may_send() and (items := self._read()):
                    self._send_items(items)
            except BaseException:  # such as Ctrl-C; items that were read are lost
                self.close()
                raise
            finally:
                self._sending = False
                if self._items.exhausted or self._closed:
                    # Also after an error: the shutdown of the executor waits for open maps.
                    self._close_sending()

    def _may_send(self) -> bool:
        unfinished = not self._items.exhausted and not self._closed
        return unfinished and self._n_in_flight < self._max_in_flight

    def _read(self) -> list[Any]:
        items = self._items.read(self._sizer)
        if items and self._closed:  # closed while the iterable blocked
            self._cancelled = True
            return []
        return items

    def _send_items(self, items: list[Any]) -> None:
        """Send items; one that cannot be pickled ends a chunk and fails in its place."""
        if self._function_error is not None:
            self._items.stop(self._function_error)
            return
        if are_plain(items):
            self._send_chunk(items)
            return
        if not self.eager:
            self._packing.prepare(items)
        chunk: list[Any] = []
        with marking_signals():
            for item in items:
                try:
                    chunk.append(self._packing.pack(item))
                except BaseException as error:
                    if is_from_signal(error):
                        raise
                    self._send_chunk(chunk)
                    chunk = []
                    self._fail_item(item, error)
        self._send_chunk(chunk)

    def _fail_item(self, item: Any, error: BaseException) -> None:
        error = _argument_error(item) or error
        explain(error, f"An item of the map, {brief(item)}, cannot be pickled")
        future: PoolFuture[Any] = PoolFuture(self._backend)
        self._track(future)
        future.settle(error)

    def _send_chunk(self, packed: list[Any]) -> None:
        if not packed:
            return
        future: PoolFuture[Any] = PoolFuture(self._backend)
        future.call_options, future.n_items = self._description, len(packed)
        try:
            payload, buffers = dumps(packed)
            parts = out_of_band(buffers)
            raises = self._options.settings.special is not None
            args = (self._packing.function, payload, parts, self._options.star, raises)
            call = Call(future, self._packing.call, args, {}, *self._requirements)
            self._backend.queue(call, of_map=self)
        except Exception as error:
            self._items.stop(error)
        else:
            self._track(future)

    def _track(self, future: PoolFuture[Any]) -> None:
        with self._chunks_lock:
            self._chunks.append(future)
            self._n_in_flight += 1
        if self._progress is not None:
            self._progress.sent(future.n_items)
        future.add_done_callback(self._chunk_done)
        if self._closed:  # perhaps before the chunk was in the list
            future.cancel()

    def _chunk_done(self, future: Any) -> None:
        with self._chunks_lock:
            self._n_in_flight -= 1
        if not future.cancelled() and future.exception() is None:
            _, _, seconds, size = future.result()
            self._sizer.record(future.n_items, seconds, size)
        if self._options.unordered:
            self._done.put(future)
        if self.eager:
            self.send()
        if self._progress is not None:
            with suppress(Exception):  # a display must not end a map
                self._progress.chunk_ended(future)

    # ------------------------------------------------------------ results

    def results(self) -> Iterator[Any]:
        """Yield the results of the calls; send more chunks meanwhile."""
        try:
            while (future := self._next_chunk()) is not None:
                yield from self._results_of(future)
            if self._items.error is not None:
                raise self._items.error
            if self._cancelled or not self._items.exhausted:
                raise CancelledError
        finally:
            self.close_soon()

    def _next_chunk(self) -> PoolFuture[Any] | None:
        self.send()
        while self._chunks:
            if not self._options.unordered:
                return self._chunks.popleft()
            try:
                future = self._done.get(timeout=self._seconds_left())
            except queue.Empty:
                raise TimeoutError from None
            with self._chunks_lock:
                self._chunks.remove(future)
            if not future.cancelled():
                return future
            self._cancelled = True  # raise CancelledError after the results of running chunks
        return None

    def _results_of(self, future: PoolFuture[Any]) -> Iterator[Any]:
        (results, error, _, _) = future.result(self._seconds_left())
        values = loads(*results)
        del results, future
        values.reverse()  # `pop` drops the reference to each value that was taken
        lazy, plain = not self.eager, list not in set(map(type, values))
        while values:
            if lazy:
                self._items.result_taken()
                self.send()
            yield values.pop() if plain else load_result(unpack, values.pop())
        if error is not None:
            raise load_error(*error)

    def _seconds_left(self) -> float | None:
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    # ------------------------------------------------------------ the end

    def close_soon(self) -> None:
        """Send no more chunks, and let the backend's thread cancel those that have not started.

        Takes no lock: the garbage collector calls it in any thread, which may hold other locks.
        """
        if not self._closed and (self._chunks or not self._items.exhausted):
            self._closed = True
            self._backend.call_soon(self.close)

    def close(self) -> None:
        """Send no more chunks, and cancel those that have not started."""
        self._closed = True
        with self._chunks_lock:
            chunks = list(self._chunks)
        for future in chunks:
            future.cancel()
        self._close_sending()

    def _close_sending(self) -> None:
        if self._progress is not None:
            self._progress.close()
        self._backend.close_map(self)


def _argument_error(item: Any) -> TypeError | None:
    """Return the error for an item that is or contains a job or a future; None for others."""
    inputs = inputs_of((item,))
    if not inputs:
        return None
    return TypeError(
        f"an item of a map is or contains {brief(inputs[0])}; wait until it has ended and pass its "
        "result, or use submit(), whose arguments may be futures"
    )
