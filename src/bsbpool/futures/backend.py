"""The part of an executor that runs its calls: on other ranks, or in a thread of this process."""

from __future__ import annotations

import abc
import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from bsbpool._core.jobs.inputs import inputs_of
from bsbpool.futures import argument_checks
from bsbpool.futures.call_options import Special
from bsbpool.futures.calls import Call, FailedCalls, settle_failed
from bsbpool.futures.errors import BrokenPoolError, InitializerError
from bsbpool.futures.future import PoolFuture, renew_lock
from bsbpool.futures.packing import MapPacking
from bsbpool.naming import error_text
from bsbpool.process import in_children

if TYPE_CHECKING:
    from bsbpool.futures.call_journal import CallJournal
    from bsbpool.futures.call_progress import CallProgress

SECONDS_TO_START = 0.5
"""The longest time that a cancelling shutdown waits for calls to start; usually a millisecond."""


class OpenMap(Protocol):
    """A map that may submit further calls after the executor was shut down."""

    eager: bool
    """Whether it submits all its calls by itself, and not only while its results are read."""

    def close(self) -> None:
        """Submit no more calls, and cancel those that have not started."""


_live_backends: weakref.WeakSet[Backend] = weakref.WeakSet()
_thread = threading.local()
_exiting = threading.Event()
atexit.register(_exiting.set)


def check_not_exiting() -> None:
    """Raise a RuntimeError during interpreter shutdown, which would not wait for the calls."""
    if _exiting.is_set():
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def in_backend_thread() -> bool:
    """Whether the current thread is the thread of a backend."""
    return getattr(_thread, "belongs_to_backend", False)


class Backend(abc.ABC):
    """Accepts calls from any thread, and has a thread that runs or schedules them.

    The thread is a daemon, because the interpreter joins other threads before it runs functions of
    `atexit`; a function of `atexit` shuts the backend down and joins the thread.

    Attributes
    ----------
    lock : RLock
        Guards the state of the backend.
    broken : BaseException or None
        The error after which no more calls run.
    n_workers : int
        The number of workers.
    main_works : bool
        Whether the root runs calls, too.
    parallel : bool
        Whether other ranks run the calls.
    in_forked_child : bool
        Whether this process was forked from the one that has the thread and the workers.
    reclaimable : bool
        Whether another executor that needs the workers may close this backend.
    progress : CallProgress or None
        The progress of the calls, if it is shown.
    journal : CallJournal or None
        Records the calls.
    """

    n_workers = 1
    parallel = False
    main_works = False
    in_forked_child = False
    reclaimable = False
    progress: CallProgress | None = None
    journal: CallJournal | None = None

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.broken: BaseException | None = None
        self._closed = self._thread_ended = False
        self._maps: set[OpenMap] = set()
        self._n_special = 0  # the number of calls with options that were accepted
        self._deferred_calls: deque[Callable[[], object]] = deque()
        self._thread = threading.Thread(target=self._run, name="bsbpool-executor", daemon=True)

    # ------------------------------------------------------------ the thread

    def start(self) -> None:
        """Start the thread, which runs calls from now on."""
        in_children(_close_in_child)
        _live_backends.add(self)
        atexit.register(self._close_at_exit)
        self._thread.start()

    def _run(self) -> None:
        _thread.belongs_to_backend = True
        try:
            self._run_calls()
        finally:
            self._closed = True
            self._thread_ended = True
            if self.progress is not None:
                self.progress.end()
            self._deferred_calls.clear()
            atexit.unregister(self._close_at_exit)

    def is_current_thread(self) -> bool:
        """Whether the current thread is the thread of this backend."""
        return threading.current_thread() is self._thread

    def call_soon(self, deferred_call: Callable[[], object]) -> None:
        """Call a function in the thread, if it still runs.

        Takes no lock. Finalizers run in whichever thread collects garbage, and that thread may
        hold a lock that the owner of another lock waits for.
        """
        if not self._thread_ended:
            self._deferred_calls.append(deferred_call)
            self._wake()

    def _run_deferred_calls(self) -> None:
        while self._deferred_calls:
            self._deferred_calls.popleft()()

    # ------------------------------------------------------------ calls

    def show_progress(self, progress: CallProgress) -> None:
        """Show the progress of all calls from now on."""
        progress.set_load(self.load)
        self.progress = progress

    def load(self) -> tuple[int, float | None]:
        """Return the number of workers, and the share of the time for which they were busy."""
        return self.n_workers, None

    def submit(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
    ) -> None:
        """Accept a call without options."""
        self.queue(Call(future, f, args, kwargs))

    def submit_by_name(
        self,
        future: PoolFuture[Any],
        f: Callable[..., Any],
        args: tuple[Any, ...],
        special: Special | None = None,
    ) -> None:
        """Accept a call of a function of a module; its arguments use no globals of a script."""
        self.queue(Call(future, f, args, {}, special=special))

    def queue(self, call: Call, of_map: OpenMap | None = None) -> None:
        """Accept a call.

        Parameters
        ----------
        call : Call
            The call.
        of_map : OpenMap, optional
            The map that it is part of. Open maps may go on after `close`.

        Raises
        ------
        BrokenExecutor, RuntimeError
            When no more calls are accepted.
        TypeError
            When an argument is a job of a pool, or a future that is not of this package.
        """
        if inputs := inputs_of(call.args, call.kwargs):
            call = call._replace(deps=(*call.deps, *argument_checks.inputs(inputs, self)))
        with self.lock:
            if self.broken is not None:
                raise self.error()
            if self._closed and of_map not in self._maps:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if call.special is not None:
                if call.special.options.ranks > 1:
                    self._check_ranks(call.special)
                if self.journal is None or not call.stream:
                    call = call._replace(stream=self._n_special)
                self._n_special += 1
            failed = self._accept(call)
        settle_failed(failed)  # not under the lock, because callbacks may wait for other threads

    def attempt_failed(self, job: Any, error: BaseException) -> None:
        """Record an attempt of a call that failed, and after which it runs again."""
        if self.journal is not None:
            self.journal.attempt_failed(job.submission_data, error)

    def _check_ranks(self, special: Special) -> None:
        """Refuse a call on more ranks than there are."""
        from bsbpool.gangs import check_options

        follow = special.futures.get("follow")
        check_options(
            special.options, self.worker_ranks, self.parallel, follow, self.main_works
        )

    def map_packing(self, f: Callable[..., Any], items: list[Any]) -> MapPacking:
        """Return how a map of `f` is pickled; `items` are those that have been read already."""
        return MapPacking(f)

    def error(self) -> BaseException:
        """Return the error to raise when the backend is broken."""
        assert self.broken is not None
        if isinstance(self.broken, InitializerError):
            error: BaseException = InitializerError(*self.broken.args)
        else:
            error = BrokenPoolError(
                "The executor runs no more calls, since its pool ended with "
                f"{error_text(self.broken)}; open a new executor"
            )
        error.__cause__ = self.broken
        return error

    def open_map(self, opened: OpenMap) -> None:
        """Stay open until `close_map` is called for a map."""
        with self.lock:
            if self.broken is not None:
                raise self.error()
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._maps.add(opened)

    def close_map(self, closed: OpenMap) -> None:
        """Do not wait for this map any more."""
        with self.lock:
            self._maps.discard(closed)
            self._end_if_closed()

    def set_prefetch(self, prefetch: bool) -> None:  # noqa: B027
        """Set whether quick calls are sent before a worker has ended the one before.

        A thread runs one call after the other in any case.
        """

    @property
    def worker_ranks(self) -> list[int]:
        """The ranks that run calls, in the communicator of the pools; rank 0 is this process."""
        return [0]

    # ------------------------------------------------------------ the end

    @property
    def closed(self) -> bool:
        """Whether no more calls are accepted."""
        return self._closed

    def close(self, cancel: bool = False) -> None:
        """Accept no more calls; the thread ends when all have run."""
        if self.in_forked_child:
            return
        with self.lock:
            self._closed = True
            maps = list(self._maps)
            # Other maps only go on while they are read, perhaps by a thread that waits for us.
            self._maps = {each for each in maps if each.eager}
            self._end_if_closed()
        if cancel:
            self._wait_for_start()
            for each in maps:
                each.close()
            self._cancel_waiting()

    def _wait_for_start(self) -> None:
        """Wait until the first calls have started, if workers are free for them."""
        end = time.monotonic() + SECONDS_TO_START
        while self._thread.is_alive() and not self._is_busy() and time.monotonic() < end:
            time.sleep(0.001)

    def close_soon(self) -> None:
        """Accept no more calls and call `close` in the thread; takes no lock, see `call_soon`."""
        self._closed = True
        self.call_soon(self.close)

    def close_in_child(self) -> None:
        """Close in a forked child, which has no thread; a parent's thread may hold the lock."""
        self.lock = threading.RLock()
        self._closed = self._thread_ended = self.in_forked_child = True

    def _close_at_exit(self) -> None:
        self.close()
        self.join()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if not self.is_current_thread():
            self._thread.join()

    def has_unfinished_calls(self) -> bool:
        """Whether the workers would not be free at once after `close`."""
        return False

    # ------------------------------------------------------------ the kind of backend

    @abc.abstractmethod
    def _run_calls(self) -> None:
        """Run calls until the backend is closed and all calls have ended; in the thread."""

    @abc.abstractmethod
    def _wake(self) -> None:
        """Make the thread look for deferred calls; takes no lock."""

    @abc.abstractmethod
    def _accept(self, call: Call) -> FailedCalls:
        """Accept a call; return the calls that cannot run. The caller holds the lock."""

    @abc.abstractmethod
    def _end_if_closed(self) -> None:
        """Let the thread end if no more calls can come. The caller holds the lock."""

    @abc.abstractmethod
    def _is_busy(self) -> bool:
        """Whether a call runs or no call waits."""

    @abc.abstractmethod
    def _cancel_waiting(self) -> None:
        """Cancel the futures of all calls that have not started."""

    @abc.abstractmethod
    def withdraw(self, future: PoolFuture[Any]) -> bool:
        """Make sure that a call does not run; return False when it has started."""

    @abc.abstractmethod
    def interrupt(self, future: PoolFuture[Any]) -> bool:
        """Cancel a call that runs; return False if that is not possible."""

    @abc.abstractmethod
    def is_running(self, future: PoolFuture[Any]) -> bool:
        """Whether a call has started and has not ended."""

    @abc.abstractmethod
    def abort(self) -> None:
        """End without waiting for calls that run."""


def _close_in_child() -> None:
    renew_lock()
    for backend in _live_backends:
        backend.close_in_child()
