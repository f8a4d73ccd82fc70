"""A batch of calls, of which a limited number is in flight at any time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from typing import Any


class Batch:
    """Calls of one function; the end of each call submits another one.

    Parameters
    ----------
    submit : callable
        Takes a function and its arguments, returns a future.
    n_ahead : int
        The number of calls in flight.
    fn : callable
        The function.
    items : iterable of tuple
        The arguments of each call. They are read in the thread in which an earlier call ended.
    """

    def __init__(
        self,
        submit: Callable[..., Future[Any]],
        n_ahead: int,
        fn: Callable[..., Any],
        items: Iterable[Any],
    ) -> None:
        self._submit, self._fn = submit, fn
        self._items = enumerate(items)
        self._reading = threading.RLock()  # one thread at a time reads, to keep the order
        self._n_due = 0  # calls to submit in place of calls that have ended
        self._submitting = False
        self._changed = threading.Condition()
        self._futures: list[Future[Any]] = []
        self._done: list[Future[Any]] = []
        self._error: BaseException | None = None
        self._submitted = False
        for _ in range(n_ahead):
            self._submit_next()
        self._raise_error()

    # ------------------------------------------------------------ submitting

    def _submit_next(self) -> None:
        with self._reading:
            self._n_due += 1
            if self._submitting:  # a nested call, for a call that ended at once
                return
            self._submitting = True
            while self._n_due and not self._submitted:
                self._n_due -= 1
                self._add(self._submit_item())
            self._submitting = False

    def _submit_item(self) -> Future[Any] | None:
        try:
            number, args = next(self._items)
            future = self._submit(self._fn, *args)
        except StopIteration:
            return None
        except BaseException as error:
            self._error = error  # raised when results are read: nobody sees it in this thread
            return None
        future.id = number  # type: ignore[attr-defined]
        return future

    def _add(self, future: Future[Any] | None) -> None:
        with self._changed:
            if future is None:
                self._submitted = True
            else:
                self._futures.append(future)
            self._changed.notify_all()
        if future is not None:
            future.add_done_callback(self._call_done)

    def _call_done(self, future: Future[Any]) -> None:
        self._submit_next()
        with self._changed:
            self._done.append(future)
            self._changed.notify_all()

    # ------------------------------------------------------------ results

    @property
    def submitted(self) -> bool:
        """Whether all items have been read."""
        return self._submitted

    @property
    def finished(self) -> bool:
        """Whether all calls have ended."""
        return self._submitted and len(self._done) == len(self._futures)

    @property
    def futures(self) -> Iterator[Future[Any]]:
        """The futures in the order in which they end."""
        return iter(self)

    def __iter__(self) -> Iterator[Future[Any]]:
        yield from self._each(self._done)
        self._raise_error()

    @property
    def ordered(self) -> Iterator[Future[Any]]:
        """The futures in the order of the items, each when it has ended."""
        for future in self._each(self._futures):
            wait_for([future])
            yield future
        self._raise_error()

    def _each(self, futures: list[Future[Any]]) -> Iterator[Future[Any]]:
        """Yield from a list that grows until the batch has finished."""
        for n in itertools.count():
            with self._changed:
                while len(futures) <= n and not self.finished:
                    self._changed.wait()
                if len(futures) <= n:
                    return
                future = futures[n]
            yield future

    def wait(self, timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
        """Wait for calls, as `concurrent.futures.wait` does.

        With `FIRST_COMPLETED`, this waits for one of the calls in flight. Otherwise it first waits
        until all items are read, within the timeout.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if return_when != FIRST_COMPLETED:
                self._changed.wait_for(lambda: self._submitted, timeout)
            futures = list(self._futures)
        left = None if end is None else max(0.0, end - time.monotonic())
        return wait_for(futures, left, return_when)

    def wait_until_submitted(self) -> None:
        """Wait until the last call has been submitted."""
        with self._changed:
            self._changed.wait_for(lambda: self._submitted)

    def result(self) -> list[Any]:
        """Return all results in the order of the items."""
        with self._changed:
            self._changed.wait_for(lambda: self.finished)
        self._raise_error()
        return [future.result() for future in self._futures]

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
