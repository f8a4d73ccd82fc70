"""The progress of the calls of an executor: counted when they are submitted and when they end."""

from __future__ import annotations

import functools
import threading
from typing import Any

from bsbpool.futures.future import PoolFuture
from bsbpool.listeners.counting import CountingListener, LoadOf
from bsbpool.listeners.default import default_listener
from bsbpool.listeners.kinds import KindCounts
from bsbpool.naming import brief
from bsbpool.serialization import loads


def make_progress(progress: bool | CountingListener) -> CallProgress | None:
    """Return the progress of an executor; None if it is not shown.

    Parameters
    ----------
    progress : bool or CountingListener
        Whether it is shown, or the display that shows it.
    """
    listener = default_listener() if progress is True else progress
    return CallProgress(listener) if isinstance(listener, CountingListener) else None


def check_progress(progress: Any) -> None:
    """Raise TypeError if an argument is neither a bool nor a display."""
    if not isinstance(progress, (bool, CountingListener)):
        raise TypeError(
            "progress must be True, False, or a TerminalListener, LogListener or TqdmListener, got "
            f"{brief(progress)}"
        )


class CallProgress:
    """Counts the calls of an executor for a display.

    Parameters
    ----------
    listener : CountingListener
        The display.
    """

    def __init__(self, listener: CountingListener) -> None:
        self._listener = listener
        self._lock = threading.Lock()  # calls are submitted, and end, in several threads
        self._began = self._ended = False
        self._load: LoadOf | None = None

    def set_load(self, load: LoadOf) -> None:
        """Set the function that returns the load of the workers."""
        self._load = load

    def submitted(self, future: PoolFuture[Any], f: Any) -> None:
        """Count a call that was submitted."""
        future.add_done_callback(functools.partial(self._call_ended, self._begin(f, 1)))

    def map_started(self, f: Any, n_items: int | None) -> MapProgress:
        """Count the calls of a map; `n_items` is None if their number is not known yet."""
        return MapProgress(self, self._begin(f, n_items or 0), n_items)

    def end(self) -> None:
        """Show the final counts: the thread of the backend has ended, and no more calls run."""
        with self._lock:
            began, self._began, self._ended = self._began, False, True
            for kind in self._listener.kinds.all():
                # Another thread is cancelling these, or a map that was stopped has not sent them.
                kind.cancelled += kind.left
        if began:
            self._listener.end()

    def add(self, kind: KindCounts, **counts: int) -> None:
        """Increase counts, except after the end."""
        with self._lock:
            for name, n in counts.items() if not self._ended else ():
                setattr(kind, name, getattr(kind, name) + n)

    def failed(self, name: str, error: BaseException) -> None:
        """Show a failure."""
        with self._lock:
            self._listener.call_failed(name, error)

    def _begin(self, f: Any, n: int) -> KindCounts:
        with self._lock:
            kind = self._listener.kinds.of_function(f)
            kind.total += n
            if not self._began:
                self._began = True
                self._listener.begin(self._load)
        return kind

    def _call_ended(self, kind: KindCounts, future: Any) -> None:
        if future.cancelled():
            self.add(kind, cancelled=1)
        elif (error := future.exception()) is None:
            self.add(kind, succeeded=1)
        else:
            self.add(kind, failed=1)
            self.failed(f"{kind.name}()", error)


class MapProgress:
    """Counts the calls of a map.

    Parameters
    ----------
    progress : CallProgress
        The progress of its executor.
    kind : KindCounts
        The counts.
    n_items : int or None
        The number of items, which were counted; None if it is not known yet.
    """

    def __init__(self, progress: CallProgress, kind: KindCounts, n_items: int | None) -> None:
        self._progress, self._kind = progress, kind
        self._is_known = n_items is not None
        self._n_left = n_items or 0  # items that were counted and not sent
        self._closed = False
        self._lock = threading.Lock()

    def sent(self, n: int) -> None:
        """Count items that were sent."""
        if not self._is_known:
            self._progress.add(self._kind, total=n)
            return
        with self._lock:
            self._n_left -= n
            closed = self._closed
        if closed:  # in another thread, which has counted these items as cancelled
            self._progress.add(self._kind, cancelled=-n)

    def close(self) -> None:
        """Count items that will not be sent as cancelled; only the first call has an effect."""
        with self._lock:
            n_left = self._n_left if self._is_known and not self._closed else 0
            self._closed = True
        if n_left:
            self._progress.add(self._kind, cancelled=n_left)

    def chunk_ended(self, future: Any) -> None:
        """Count the calls of a chunk that has ended."""
        n = future.n_items
        if future.cancelled():
            self._progress.add(self._kind, cancelled=n)
        elif (error := future.exception()) is not None:
            self._count_failure(0, n)
            self._show(error)
        else:
            results, raised, _, _ = future.result()
            if raised is None:
                self._progress.add(self._kind, succeeded=n)
            else:
                from bsbpool.remote_errors import load_error

                self._count_failure(len(loads(*results)), n)
                self._show(load_error(*raised))  # which may raise

    def _count_failure(self, n_before: int, n: int) -> None:
        rest = n - n_before - 1
        self._progress.add(self._kind, succeeded=n_before, failed=1, cancelled=rest)

    def _show(self, error: BaseException) -> None:
        self._progress.failed(f"{self._kind.name}() of a map", error)
