"""Maps: items in chunks, sent while results are taken.

Chunks are sized by the run times seen: about a millisecond of work each, since the pool needs some
microseconds for each, but no larger than leaves enough for all workers. There are always a few
more on their way than are being run.

Without a `buffersize` all items are read at once, as by the executors of the standard library,
and chunks follow each other by themselves. With one, items are read when results are taken.
"""

from __future__ import annotations

import itertools
import pickle
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from bsbpool.execution.functions import is_kept
from bsbpool.futures.chunks import run_chunk
from bsbpool.futures.crew import Call, Crew
from bsbpool.futures.future import PoolFuture
from bsbpool.serialization import dumps, dumps_function, load_error, loads

SECONDS_A_CHUNK = 1e-3
SECONDS_A_BYTE = 1e-6 / 1024
"""What sending counts for: a KiB as a microsecond."""
CHUNKS_A_WORKER = 8
"""How many are on their way, so that no worker waits for the thread that sends."""
MOST_GROWTH = 8
"""By how much a chunk may be larger than those before it."""


class Plan(NamedTuple):
    """How a map is to go."""

    star: bool = False
    timeout: float | None = None
    chunksize: int | None = None
    buffersize: int | None = None
    unordered: bool = False
    said: dict[str, Any] | None = None


class Sizes:
    """Chooses how many items a chunk gets.

    Parameters
    ----------
    fixed : int or None
        The number, where the caller gave it.
    n_workers : int
        How many share the items.
    overhead : float
        Seconds that each chunk costs by itself.
    """

    def __init__(self, fixed: int | None, n_workers: int, overhead: float = 0.0) -> None:
        self._fixed = fixed
        self._n_workers = n_workers
        self._seconds = SECONDS_A_CHUNK + overhead
        self._an_item: float | None = None
        self._last = 1

    def saw(self, items: int, seconds: float) -> None:
        """Learn how long a chunk took."""
        took = seconds / items
        seen = self._an_item
        # At once when it gets longer, so that no worker has too much.
        self._an_item = took if seen is None or took > seen else (seen + took) / 2

    def next(self, left: int) -> int:
        """Return how many items to take when so many are left."""
        if self._fixed is not None:
            return self._fixed
        if self._an_item is None:
            return 1
        wanted = int(self._seconds / max(self._an_item, 1e-9))
        fair = left // (2 * self._n_workers)
        self._last = max(1, min(wanted, fair, self._last * MOST_GROWTH))
        return self._last


class Stream:
    """The chunks of one map.

    Parameters
    ----------
    crew : Crew
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

    def __init__(self, crew: Crew, f: Callable[..., Any], items: Iterable[Any], plan: Plan) -> None:
        self._crew, self._plan = crew, plan
        self._lock = threading.RLock()  # held while items are read, which may take long
        self._counting = threading.Lock()
        self.eager = plan.buffersize is None
        read = list(items) if self.eager else items
        self._left = len(read) if isinstance(read, list) else None
        self._items: Iterator[Any] = iter(read)
        self._end = None if plan.timeout is None else time.monotonic() + plan.timeout
        self._chunks: deque[PoolFuture] = deque()  # in the order of items
        self._done: queue.SimpleQueue[PoolFuture] = queue.SimpleQueue()
        self._on_their_way = 0  # chunks
        self._untaken = 0  # items
        self._over = self._feeding = False
        self._failure: BaseException | None = None
        overhead = 0.0
        try:
            payload, buffers = dumps_function(f)
            self._function = payload, list(map(pickle.PickleBuffer, buffers)), is_kept(f)
            overhead = SECONDS_A_BYTE * (len(payload) + sum(b.nbytes for b in buffers))
        except Exception as error:
            self._failure = error
        self._most = CHUNKS_A_WORKER * crew.n_workers
        self._sizes = Sizes(plan.chunksize, crew.n_workers, overhead)
        crew.open_stream(self)
        self.feed()

    # Out

    def feed(self) -> None:
        """Send chunks, as many as should be on their way."""
        with self._lock:
            if self._feeding:  # from inside, as a chunk could not be sent
                return
            self._feeding = True
            try:
                while not self._over and self._on_their_way < self._most and (i := self._read()):
                    self._send(i)
            finally:
                self._feeding = False
        if self._over:
            self._crew.end_stream(self)

    def _read(self) -> list[Any]:
        room = self._sizes.next(self._left if self._left is not None else self._room())
        if self._plan.buffersize is not None:
            room = min(room, self._plan.buffersize - self._untaken)
        items = list(itertools.islice(self._items, room))
        if len(items) < room or self._left == len(items):
            self._over = True
        if self._left is not None:
            self._left -= len(items)
        self._untaken += len(items)
        return items

    def _room(self) -> int:
        assert self._plan.buffersize is not None
        return self._plan.buffersize

    def _send(self, items: list[Any]) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            payload, buffers = dumps(items)
        except Exception as error:
            if len(items) > 1 and self._failure is None:
                for item in items:  # those before the one that cannot be pickled are to come
                    self._send([item])
                return
            error.add_note("The function of the map, or an item, cannot be pickled.")
            self._follow(PoolFuture(self._crew)).settle(error)
            return
        future = PoolFuture(self._crew)
        future.said, future.n_items = self._plan.said, len(items)
        self._follow(future)
        args = (self._function, payload, list(map(pickle.PickleBuffer, buffers)), self._plan.star)
        try:
            self._crew.queue(Call(future, run_chunk, args, {}), stream=self)
        except Exception as error:
            self._over = True
            future.settle(error)

    def _follow(self, future: PoolFuture) -> PoolFuture:
        self._chunks.append(future)
        with self._counting:
            self._on_their_way += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Any) -> None:
        with self._counting:
            self._on_their_way -= 1
        if not future.cancelled() and future.exception() is None:
            _, _, seconds, size = future.result()
            self._sizes.saw(future.n_items, seconds + SECONDS_A_BYTE * size)
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
        finally:
            self.close()

    def _next(self) -> PoolFuture | None:
        self.feed()
        with self._lock:
            if not self._chunks:
                return None
            if not self._plan.unordered:
                return self._chunks.popleft()
        try:
            future = self._done.get(timeout=self._seconds())
        except queue.Empty:
            raise TimeoutError from None
        with self._lock:
            self._chunks.remove(future)
        return future

    def _taken(self, future: PoolFuture) -> Iterator[Any]:
        (results, error, _, _) = future.result(self._seconds())
        values = loads(*results)
        del results, future
        values.reverse()  # so that nothing is kept of what was taken
        lazy = not self.eager
        while values:
            if lazy:
                self._untaken -= 1
                self.feed()
            yield values.pop()
        if error is not None:
            raise load_error(*error)

    def _seconds(self) -> float | None:
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def close(self) -> None:
        """Send no more, and cancel what has not begun."""
        with self._lock:
            self._over = True
            chunks = list(self._chunks)
        for future in chunks:
            future.cancel()
        self._crew.end_stream(self)


def stream(crew: Crew, f: Callable[..., Any], items: Iterable[Any], plan: Plan) -> Iterator[Any]:
    """Begin a map; return what yields its results."""
    made = Stream(crew, f, items, plan)
    results = made.results()
    # One that was never begun has no `finally` to come to.
    weakref.finalize(results, made.close).atexit = False
    return results
