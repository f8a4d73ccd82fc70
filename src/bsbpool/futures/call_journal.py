"""The journal of an executor: it records the calls that end, and settles those it knows.

A call gets its key when it is submitted, as a job of a pool does. Maps submit each item as a call
of its own: chunks depend on run times, so those of another run would be other calls.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from bsbpool._core.jobs.handle import Handle
from bsbpool._core.jobs.inputs import inputs_of
from bsbpool.exceptions import JobCancelledError
from bsbpool.futures import argument_checks
from bsbpool.futures.calls import Call
from bsbpool.futures.future import PoolFuture
from bsbpool.journal.options import Journal
from bsbpool.journal.store import (
    ATTEMPT,
    CANCELLED,
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
NOT_RUN = (JobCancelledError, BrokenExecutor)
"""The errors of calls that did not run to their end: these run again in any case."""


@dataclasses.dataclass(slots=True)
class JournaledCall:
    """What is known of a call that was submitted.

    Attributes
    ----------
    key : bytes
        Its key.
    varies : bool
        Whether calls with this key can have different results: it follows other calls whatever
        their ends, has an argument that is not journaled, or depends on a call that varies.
    is_resumed : bool
        Whether its end is that of the journal.
    n_failed : int
        How many attempts failed, over all runs.
    f : callable or None
        The function of a call with retries.
    """

    key: bytes
    varies: bool
    is_resumed: bool = False
    n_failed: int = 0
    f: Any = None


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
        self._calls: WeakKeyDictionary[Any, JournaledCall] = WeakKeyDictionary()
        self._inputs: list[Any] = []  # the futures that are arguments, as keys are made
        self._repeats: dict[bytes, int] = {}  # how many calls had a key
        self._functions: dict[Any, bytes] = {}
        self._lock = threading.RLock()
        self._pending = 0
        self._closing = self._closed = False

    def attach(self, backend: Any) -> None:
        """Get the calls that a backend accepts from now on."""
        self._backend = backend
        self._queue_call = backend.queue
        backend.journal = self
        # So that calls without a journal do not test for one.
        vars(backend).update(submit=self._submit, queue=self._queue)

    def close_soon(self) -> None:
        """Close the journal when all calls have ended."""
        with self._lock:
            self._closing = True
        if self._writer.is_current_thread():
            # It collects the garbage of which the executor is a part, and cannot wait for itself.
            threading.Thread(target=self._close_if_done, daemon=True).start()
        else:
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
            made, known, is_current = self._enter(call)
        try:
            if is_current and self._settle(call.future, known.key):
                known.is_resumed = True
                self.n_resumed += 1
                return
            self._run(call, known, of_map)
        except BaseException:  # it was refused
            with self._lock:
                self._repeats[made] -= 1
            raise

    def _run(self, call: Call, known: JournaledCall, of_map: Any) -> None:
        """Pass a call on, and record its end."""
        special = call.special
        if special is not None and special.options.seed is not None:
            call = call._replace(stream=int.from_bytes(known.key, "little"))
        if special is not None and special.options.retries:
            known.f = call.f
            left = max(0, special.options.retries - known.n_failed)
            options = special.options.updated({"retries": left})
            call = call._replace(special=special._replace(options=options))
        with self._lock:
            self._pending += 1
        self._record_before_end(call.future, known, call.f)
        try:
            self._queue_call(call, of_map)
        except BaseException:
            vars(call.future).pop("settle_unobserved", None)
            with self._lock:
                self._pending -= 1
            raise
        call.future.add_done_callback(self._ended)

    # ------------------------------------------------------------ keys

    def _enter(self, call: Call) -> tuple[bytes, JournaledCall, bool]:
        """Note a call that is submitted.

        Returns the key that all equal calls have, what is known of the call, and whether its end in
        the journal, if there is one, can be used.
        """
        options = None if call.special is None else call.special.options
        self._inputs = []
        if options is not None and options.key is not None:
            made = self.digests.keys.digest(("key", options.key))
            if self._repeats.get(made):
                raise ValueError(f"key {options.key!r} was given to a call before; give each call "
                                 "a key of its own, or leave it out")  # fmt: skip
            found = argument_checks.inputs(inputs_of(call.args, call.kwargs), self._backend)
            self._inputs = [f for f in found if f in self._calls]
        else:
            made = self._made_key(call)
        repeats = self._repeats.get(made, 0)
        key = self.digests.keys.digest((made, repeats)) if repeats else made
        followed = self._followed(call)
        known = JournaledCall(key, varies=bool(followed))
        if (before := self._file.table.get(key)) is not None:
            self._file.table.see(key)
            succeeded = before[1] >= 0 and before[0] == SUCCESS
            known.n_failed = max(before[2] - succeeded, 0)
        self._calls[call.future] = known
        self._repeats[made] = repeats + 1
        return made, known, self._is_current(key, followed)

    def _followed(self, call: Call) -> list[JournaledCall | None]:
        """Return the calls without which the key of a call does not tell its result.

        None stands for a call that is not journaled.
        """
        special = {} if call.special is None else call.special.futures
        found = [self._calls.get(f) for name in FOLLOWED for f in special.get(name, ())]
        known = [self._calls.get(f) for f in self._inputs]
        known += [self._calls[f] for f in call.deps if f in self._calls]
        return found + [other for other in known if other is None or other.varies]

    def _is_current(self, key: bytes, followed: list[JournaledCall | None]) -> bool:
        """Whether the calls that a call follows have ended as they did before it.

        All must have been resumed, from earlier records than that of the call.
        """
        known = self._file.table.get(key)
        if known is None:
            return True
        for other in followed:
            before = self._file.table.get(other.key) if other and other.is_resumed else None
            if before is None or before[1] > known[1]:
                return False
        return True

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
                sorted(self._calls[dep].key if dep in self._calls else b"" for dep in deps),
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
        if not isinstance(value, PoolFuture) or isinstance(value, Handle):
            return None
        self._inputs.append(value)
        known = self._calls.get(value)
        return NO_KEY if known is None else known.key

    def _settle(self, future: PoolFuture[Any], key: bytes) -> bool:
        """Settle a future from the journal; return whether that was possible."""
        known = self._file.table.get(key)
        if known is None or known[1] < 0:
            return False
        status, offset = known[:2]
        try:
            kind = self._file.record(offset)[2]
            if status == SUCCESS and kind == NOTHING:
                future.settle(None, None)
                return True
            counts, outcome = self.load(status, kind, offset)
            if not counts:
                return False
            if status == FAILED:
                future.settle(outcome)
                return True
            value = loads(*outcome.load(True))
        except Exception as error:
            self._warn(f"a result cannot be loaded, so its call runs again: {error_text(error)}")
            return False
        future.settle(None, value)
        return True

    # ------------------------------------------------------------ ends

    def _record_before_end(self, future: PoolFuture[Any], known: JournaledCall, f: Any) -> None:
        """Record the end of a call before its future has ended: its user may change the result."""

        def settle_unobserved(error: BaseException | None, value: Any) -> bool:
            vars(future).pop("settle_unobserved", None)  # the class has that method, too
            try:
                if not future.cancelled():
                    self._record(error, value, known, f, future.ended_metadata)
            except BaseException:  # the call has ended all the same
                _log.exception("the end of a call of %s was not recorded", name_of(f))
            return future.settle_unobserved(error, value)

        vars(future)["settle_unobserved"] = settle_unobserved

    def _ended(self, future: Any) -> None:
        vars(future).pop("settle_unobserved", None)  # it refers to the future
        with self._lock:
            self._pending -= 1
        self._close_if_done()

    def attempt_failed(self, future: Any, error: BaseException) -> None:
        """Record an attempt that failed, and after which the call runs again."""
        known = self._calls.get(future)
        if known is None:
            return
        known.n_failed += 1
        text = error_text(error).encode(errors="replace")
        with self._lock:
            name = self.number_of_name(known.f)
        self._writer.buffer.add(
            ATTEMPT, FAILED, NOTHING, known.key, text, attempts=known.n_failed,
            time_ns=time.time_ns(), name=name,
        )  # fmt: skip
        self._writer.write_if_many()

    def _record(
        self, error: BaseException | None, value: Any, known: JournaledCall, f: Any,
        metadata: JobMetadata | None,
    ) -> None:  # fmt: skip
        buffers: Any
        key, attempts, run_ns, rank = known.key, known.n_failed, 0, -1
        if metadata is not None:
            run_ns = int((metadata.run_time or 0) * 1e9)
            rank = -1 if metadata.rank is None else metadata.rank
        text = b""
        if error is None:
            status, attempts = SUCCESS, attempts + 1
            kind, payload, buffers = (
                (NOTHING, b"", ()) if value is None else self.pack(key, value)
            )
        else:
            text = error_text(error).encode(errors="replace")
            status, kind, payload, buffers = CANCELLED, NOTHING, b"", ()
            if not isinstance(error, NOT_RUN):
                status, kind, attempts = FAILED, ERROR, attempts + 1
                payload, buffers = dump_error(error, 0, name_of(f))
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
        self.report_unseen()
        self._file.close()
