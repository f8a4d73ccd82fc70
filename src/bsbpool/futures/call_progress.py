"""The progress of the calls of an executor: counted when they are submitted and when they end."""

from __future__ import annotations

import functools
import threading
from typing import Any

from bsbpool.futures.future import PoolFuture
from bsbpool.listeners.counting import CountingListener, Load
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
        self._began = False
        self._load: Load | None = None

    def set_load(self, load: Load) -> None:
        """Set the function that returns the load of the workers."""
        self._load = load

    def submitted(self, future: PoolFuture[Any], f: Any) -> None:
        """Count a call that was submitted."""
        future.add_done_callback(functools.partial(self._call_ended, self._begin(f, 1)))

    def map_started(self, f: Any, n_items: int | None) -> MapProgress:
        """Count the calls of a map; `n_items` is None if their number is not known yet."""
        return MapProgress(self, self._begin(f, n_items or 0), n_items is not None)

    def end(self) -> None:
        """Show the final counts: no more calls come."""
        with self._lock:
            began, self._began = self._began, False
        if began:
            self._listener.end()

    def add(self, kind: KindCounts, **counts: int) -> None:
        """Increase counts."""
        with self._lock:
            for name, n in counts.items():
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
    is_known : bool
        Whether the number of items was counted.
    """

    def __init__(self, progress: CallProgress, kind: KindCounts, is_known: bool) -> None:
        self._progress, self._kind = progress, kind
        self._is_known = is_known

    def sent(self, n: int) -> None:
        """Count items that were sent."""
        if not self._is_known:
            self._progress.add(self._kind, total=n)

    def close(self, n_left: int) -> None:
        """Count items that will not be sent; once."""
        if self._is_known and n_left:
            self._is_known = False
            self._progress.add(self._kind, cancelled=n_left)

    def chunk_ended(self, future: Any) -> None:
        """Count the calls of a chunk that has ended."""
        n = future.n_items
        if future.cancelled():
            self._progress.add(self._kind, cancelled=n)
        elif (error := future.exception()) is not None:
            self._failed(0, n, error)
        else:
            results, raised, _, _ = future.result()
            if raised is None:
                self._progress.add(self._kind, succeeded=n)
            else:
                from bsbpool.remote_errors import load_error

                self._failed(len(loads(*results)), n, load_error(*raised))

    def _failed(self, n_before: int, n: int, error: BaseException) -> None:
        rest = n - n_before - 1
        self._progress.add(self._kind, succeeded=n_before, failed=1, cancelled=rest)
        self._progress.failed(f"{self._kind.name}() of a map", error)
