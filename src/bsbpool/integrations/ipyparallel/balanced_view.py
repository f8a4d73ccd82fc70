"""The view that gives each task to the engine that is free."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import wait as wait_for_futures
from typing import Any

from bsbpool.integrations.ipyparallel import _engine, error
from bsbpool.integrations.ipyparallel.async_result import AsyncResult
from bsbpool.integrations.ipyparallel.dependency import Dependency
from bsbpool.integrations.ipyparallel.view import View
from bsbpool.naming import brief

OUTSTANDING_PER_ENGINE = 4


class LoadBalancedView(View):
    """Runs each call on one engine: the one that has been idle longest.

    Attributes
    ----------
    after : Dependency, AsyncResult, or list of them, or None
        Tasks that must have succeeded before those of the view begin.
    follow : Dependency, AsyncResult, or list of them, or None
        Tasks on whose engine those of the view run.
    timeout : float or None
        Seconds that a task waits for its dependencies; 0 for no limit.
    retries : int
        How often a task that fails runs again, on another engine if there is one.
    time_limit : float or None
        Seconds that a task may run.
    prefetch : bool
        Whether quick tasks are sent before an engine has ended the one before, for all tasks of
        the program from now on.
    """

    _flags = View._flags | {"after", "follow", "timeout", "retries", "time_limit", "prefetch"}

    def __init__(self, client: Any, targets: Any = None, **flags: Any) -> None:
        self.after: Any = None
        self.follow: Any = None
        self.timeout: float | None = None
        self.retries = 0
        self.time_limit: float | None = None
        self._prefetch = False
        super().__init__(client, targets, **flags)

    @property
    def prefetch(self) -> bool:
        """Whether quick tasks are sent ahead."""
        return self._prefetch

    @prefetch.setter
    def prefetch(self, value: bool) -> None:
        self._prefetch = value
        if value != self.client.engines.prefetch:
            self.client.engines.set_prefetch(value)

    def set_flags(self, **flags: Any) -> LoadBalancedView:
        """Set attributes; return the view.

        Raises
        ------
        TypeError
            When a value has a wrong type.
        """
        for name in ("after", "follow"):
            if name in flags:
                flags[name] = _dependency(flags[name])
        timeout = flags.get("timeout")
        if timeout is not None and (not isinstance(timeout, (int, float)) or timeout < 0):
            raise TypeError(f"timeout must be a number of seconds or None, got {brief(timeout)}")
        return super().set_flags(**flags)

    # ------------------------------------------------------------ calls

    def _send(
        self, function: Callable[..., Any], args: tuple[Any, ...], label: str | None = None
    ) -> Any:
        task = self._new_task(function, args, label)
        task.retries, task.time_limit = self.retries, self.time_limit
        if self.targets is not None:
            task.allowed = tuple(self.client.engines_of(self.targets))
        # Set as attributes, dependencies need not be `Dependency` objects.
        task.after, task.follow = _dependency(self.after), _dependency(self.follow)
        self.client.scheduler.submit(task, self.timeout or None)
        return task

    def _apply(
        self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any], block: bool
    ) -> AsyncResult:
        packed, size = self._pack((f, args, kwargs))
        task = self._send(_engine.run_apply, packed)
        name = getattr(f, "__name__", "call")
        tracker = self._tracker([task], size)
        return AsyncResult(self.client, [task], name, True, tracker=tracker).watch()

    def _map_tasks(
        self,
        f: Any,
        sequences: Any,
        return_exceptions: bool,
        label: str | None,
        chunksize: int = 1,
        ordered: bool = True,
    ) -> Any:
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, got {chunksize}")
        items = zip(*sequences, strict=False)
        tasks, lengths, total = [], [], 0
        while chunk := list(itertools.islice(items, chunksize)):
            packed, size = self._pack((f, chunk, return_exceptions))
            tasks.append(self._send(_engine.run_chunk, packed, label))
            lengths.append(len(chunk))
            total += size
        return tasks, lengths, self._tracker(tasks, total)

    def imap(
        self,
        f: Callable[..., Any],
        *sequences: Iterable[Any],
        ordered: bool = True,
        max_outstanding: int | str | None = "auto",
        return_exceptions: bool = False,
        **ignored: Any,
    ) -> LazyMapIterator:
        """Return an iterator over results; items are read while results are taken.

        Parameters
        ----------
        f : callable
            The function.
        *sequences : iterable
            Its arguments, in order; they may be infinite.
        ordered : bool
            Whether results come in the order of the items.
        max_outstanding : int, "auto", "all" or None
            The largest number of tasks that have not ended: "auto" for 4 per engine, "all" or None
            for no limit.
        return_exceptions : bool
            Whether results contain the errors of calls.
        """
        most: float
        if max_outstanding == "auto":
            most = OUTSTANDING_PER_ENGINE * max(len(self), 1)
        elif max_outstanding in ("all", None, 0):
            most = float("inf")
        elif isinstance(max_outstanding, int):
            most = max_outstanding
        else:
            raise TypeError(
                f"max_outstanding must be a number, 'auto' or 'all', got {max_outstanding!r}"
            )
        items = zip(*sequences, strict=False)
        return LazyMapIterator(self, f, items, ordered, most, return_exceptions)

    def _balanced(self) -> LoadBalancedView:
        return self


class LazyMapIterator(Iterator[Any]):
    """The results of `LoadBalancedView.imap`.

    Parameters
    ----------
    view : LoadBalancedView
        The view.
    f : callable
        The function.
    items : iterator of tuple
        The arguments.
    ordered : bool
        Whether results come in the order of the items.
    most : float
        The largest number of tasks that have not ended.
    return_exceptions : bool
        Whether errors are returned.
    """

    def __init__(
        self,
        view: LoadBalancedView,
        f: Callable[..., Any],
        items: Iterator[tuple[Any, ...]],
        ordered: bool,
        most: float,
        return_exceptions: bool,
    ) -> None:
        self._view, self._f, self._items = view, f, items
        self._ordered, self._most, self._return_exceptions = ordered, most, return_exceptions
        self._pending: deque[AsyncResult] = deque()
        self._cancelled = False
        self._fill()

    def _fill(self) -> None:
        outstanding = sum(not each.done() for each in self._pending)
        while not self._cancelled and outstanding < self._most:
            item = next(self._items, None)
            if item is None:
                return
            self._pending.append(self._view.apply_async(self._f, *item))
            outstanding += 1

    def __next__(self) -> Any:
        if not self._pending:
            raise StopIteration
        result = self._take()
        try:
            value = result.get()
        except error.RemoteError as failed:
            if not self._return_exceptions:
                raise
            value = failed
        self._fill()
        return value

    def _take(self) -> AsyncResult:
        if self._ordered:
            return self._pending.popleft()
        done, _ = wait_for_futures(self._pending, None, FIRST_COMPLETED)
        for each in self._pending:
            if each in done:
                self._pending.remove(each)
                return each
        raise AssertionError("no task has ended")

    def cancel(self) -> None:
        """Read no more items, and abort the tasks that have not begun."""
        self._cancelled = True
        for each in self._pending:
            each.abort()


def _dependency(value: Any) -> Dependency | None:
    if value is None or isinstance(value, Dependency):
        return value
    return Dependency(value)
