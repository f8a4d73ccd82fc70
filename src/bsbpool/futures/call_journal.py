"""The journal of an executor: it records the calls that end, and settles those it knows.

A call gets its key when it is submitted, as a job of a pool does. Maps submit each item as a call
of its own: chunks depend on run times, so those of another run would be other calls.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from bsbpool._core.jobs.handle import Handle
from bsbpool.futures.calls import Call
from bsbpool.futures.future import PoolFuture
from bsbpool.journal.options import Journal
from bsbpool.journal.store import (
    ENDED,
    ERROR,
    FAILED,
    NO_KEY,
    NOTHING,
    SUCCESS,
    JournalStore,
)
from bsbpool.logs import logger
from bsbpool.naming import error_text, name_of
from bsbpool.remote_errors import dump_error
from bsbpool.serialization import loads

if TYPE_CHECKING:
    from bsbpool.metadata import JobMetadata

_log = logger("journals")
FOLLOWED = ("after_any", "on_failure", "on_end")
"""The options with calls whose failure does not prevent a call."""


class CallJournal(JournalStore):
    """Records the calls of an executor.

    Parameters
    ----------
    options : Journal
        The journal.

    Attributes
    ----------
    n_resumed : int
        The number of calls that did not run, since the journal has their ends.
    """

    def __init__(self, options: Journal) -> None:
        super().__init__(options)
        self.n_resumed = 0
        self.digests.of_future = self._key_of_input
        self._keys: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()
        self._resumed: WeakSet[Any] = WeakSet()
        self._repeats: dict[bytes, int] = {}
        self._functions: dict[Any, bytes] = {}
        self._lock = threading.RLock()
        self._pending = 0
        self._closing = self._closed = False

    def attach(self, backend: Any) -> None:
        """Get the calls that a backend accepts from now on."""
        self._queue_call = backend.queue
        backend.journal = self
        # So that calls without a journal do not test for one.
        vars(backend).update(submit=self._submit, queue=self._queue)

    def close_soon(self) -> None:
        """Close the journal when all calls have ended."""
        with self._lock:
            self._closing = True
        self._close_if_done()

    def close(self) -> None:
        """Close the journal when all calls have ended; raise its error unless there is another one.

        Raises
        ------
        JournalError
            If the file could not be written.
        """
        self.close_soon()
        if sys.exc_info()[1] is None:
            self._check()

    def _check(self) -> None:
        """Raise the error of the writer, unless the calls go on without a journal."""
        if self._writer.error is not None and self._options.on_error == "raise":
            raise self._writer.error

    # ------------------------------------------------------------ submitting

    def _submit(
        self, future: PoolFuture[Any], f: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        self._queue(Call(future, f, args, kwargs))

    def _queue(self, call: Call, of_map: Any = None) -> None:
        self._check()
        options = None if call.special is None else call.special.options
        if options is not None and not options.journaled:
            self._queue_call(call, of_map)
            return
        with self._lock:
            key = self._key_of(call)
            self._keys[call.future] = key
        if self._is_current(call, key) and self._settle(call.future, key):
            self._resumed.add(call.future)
            self.n_resumed += 1
            return
        if options is not None and options.seed is not None:
            call = call._replace(stream=int.from_bytes(key, "little"))
        with self._lock:
            self._pending += 1
        self._record_before_end(call.future, key, call.f)
        try:
            self._queue_call(call, of_map)
        except BaseException:
            vars(call.future).pop("settle_unobserved", None)
            with self._lock:
                self._pending -= 1
            raise
        call.future.add_done_callback(self._ended)

    def _key_of(self, call: Call) -> bytes:
        options = None if call.special is None else call.special.options
        if options is not None and options.key is not None:
            key = self.digests.keys.digest(("key", options.key))
            if key in self._repeats:
                raise ValueError(f"key {options.key!r} was given to a call before; give each call "
                                 "a key of its own, or leave it out")  # fmt: skip
        else:
            key = self._made_key(call)
        repeats = self._repeats[key] = self._repeats.get(key, -1) + 1
        return self.digests.keys.digest((key, repeats)) if repeats else key

    def _made_key(self, call: Call) -> bytes:
        deps = [*call.deps]
        version: Any = None
        if call.special is not None:
            for futures in call.special.futures.values():
                deps += futures
            options = call.special.options
            version = options.key_version, options.seed, options.ranks, options.gather
            if version == (None, None, 1, False):
                version = None  # as of a call without options
        try:
            return self.digests.keys.digest((
                self._digest_of(call.f), call.args, call.kwargs,
                sorted(self._keys.get(dep, b"") for dep in deps),
                self._options.key_version, version,
            ))  # fmt: skip
        except TypeError as error:
            raise TypeError(
                f"the call of {name_of(call.f)} has no key for the journal: {error}. Give it one, "
                "as in executor.options(key='...').submit(...); or give the class a method "
                "__bsbpool_key__(self), or call bsbpool.journal.register_key"
            ) from error

    def _digest_of(self, f: Any) -> bytes:
        with suppress(TypeError):  # a callable without a hash
            if type(f) in (type(len), type(name_of)) and f in self._functions:
                return self._functions[f]
        digest, can_change = self.digests.digest_function(f)
        if not can_change:
            if len(self._functions) > 4096:
                self._functions.clear()
            self._functions[f] = digest
        return digest

    def _key_of_input(self, value: Any) -> bytes | None:
        """Return the key of a future that is an argument; None for other objects."""
        if isinstance(value, PoolFuture) and not isinstance(value, Handle):
            return self._keys.get(value)
        return None

    def _is_current(self, call: Call, key: bytes) -> bool:
        """Whether the calls that a call follows, whatever their ends, have ended as they did then.

        All must have been resumed, from earlier records than that of the call.
        """
        special = {} if call.special is None else call.special.futures
        followed = [f for name in FOLLOWED for f in special.get(name, ())]
        known = self._file.table.get(key) if followed else None
        if known is None:
            return True
        for future in followed:
            other = self._file.table.get(self._keys.get(future, NO_KEY))
            if future not in self._resumed or other is None or other[1] > known[1]:
                return False
        return True

    def _settle(self, future: PoolFuture[Any], key: bytes) -> bool:
        """Settle a future from the journal; return whether that was possible."""
        known = self._file.table.get(key)
        if known is None or known[1] < 0:
            return False
        self._file.table.see(key)
        status, offset = known[:2]
        if status == SUCCESS and self._file.record(offset)[2] == NOTHING:
            future.settle(None, None)
            return True
        counts, outcome = self.load(status, self._file.record(offset)[2], offset)
        if not counts:
            return False
        if status == FAILED:
            future.settle(outcome)
            return True
        try:
            value = loads(*outcome.load(True))
        except Exception as error:
            self._warn(f"a result cannot be loaded, so its call runs again: {error_text(error)}")
            return False
        future.settle(None, value)
        return True

    # ------------------------------------------------------------ ends

    def _record_before_end(self, future: PoolFuture[Any], key: bytes, f: Any) -> None:
        """Record the end of a call before its future has ended: its user may change the result."""

        def settle_unobserved(error: BaseException | None, value: Any) -> bool:
            vars(future).pop("settle_unobserved", None)  # the class has that method, too
            try:
                if not future.cancelled():
                    self._record(error, value, key, f, future.ended_metadata)
            except BaseException:  # the call has ended all the same
                _log.exception("the end of a call of %s was not recorded", name_of(f))
            return future.settle_unobserved(error, value)

        vars(future)["settle_unobserved"] = settle_unobserved

    def _ended(self, future: Any) -> None:
        vars(future).pop("settle_unobserved", None)  # it refers to the future
        with self._lock:
            self._pending -= 1
        self._close_if_done()

    def _record(
        self, error: BaseException | None, value: Any, key: bytes, f: Any,
        metadata: JobMetadata | None,
    ) -> None:  # fmt: skip
        buffers: Any
        known = self._file.table.get(key)
        attempts, run_ns, rank = 0 if known is None else known[2], 0, -1
        if metadata is not None:
            attempts += max(metadata.attempts, 1)
            run_ns = int((metadata.run_time or 0) * 1e9)
            rank = -1 if metadata.rank is None else metadata.rank
        else:
            attempts += 1
        text = b""
        if error is None:
            status = SUCCESS
            kind, payload, buffers = (
                (NOTHING, b"", ()) if value is None else self.pack(key, value)
            )
        else:
            status, kind = FAILED, ERROR
            payload, buffers = dump_error(error, 0, name_of(f))
            text = error_text(error).encode(errors="replace")
        with self._lock:  # several threads end calls
            name = self.number_of_name(f)
        self._writer.buffer.add(
            ENDED, status, kind, key, payload, buffers, text, attempts, time.time_ns(), run_ns,
            rank, name,
        )  # fmt: skip
        if self._options.sync == "always":
            self._writer.write(sync=True)
        else:
            self._writer.write_if_many()

    def _close_if_done(self) -> None:
        with self._lock:
            if not self._closing or self._pending or self._closed:
                return
            self._closed = True
        self._writer.close()
        self._file.close()


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
