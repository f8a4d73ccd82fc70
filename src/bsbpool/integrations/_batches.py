"""Many calls as one thing, and results that are asked as `multiprocessing` asks them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from typing import Any


class Batch:
    """Calls of which as many are on their way as there are workers; each end begins another.

    Parameters
    ----------
    submit : callable
        Takes a function and its arguments, returns a future.
    n_ahead : int
        How many calls are on their way.
    fn : callable
        What is called.
    items : iterable of tuple
        The arguments of each call; read in the thread in which a call before ended.
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
        self._reading = threading.RLock()  # one thread at a time reads, so order is kept
        self._owed = 0  # calls to begin for those that ended before anybody could listen
        self._inside = False
        self._changed = threading.Condition()
        self._futures: list[Future[Any]] = []
        self._ended: list[Future[Any]] = []
        self._error: BaseException | None = None
        self._submitted = False
        for _ in range(n_ahead):
            self._submit_next()
        self._raise()

    # In

    def _submit_next(self) -> None:
        with self._reading:
            self._owed += 1
            if self._inside:  # further down in this thread, where it goes on
                return
            self._inside = True
            while self._owed and not self._submitted:
                self._owed -= 1
                self._begin(self._next())
            self._inside = False

    def _begin(self, future: Future[Any] | None) -> None:
        with self._changed:
            if future is None:
                self._submitted = True
            else:
                self._futures.append(future)
            self._changed.notify_all()
        if future is not None:
            future.add_done_callback(self._one_ended)

    def _next(self) -> Future[Any] | None:
        try:
            n, args = next(self._items)
            future = self._submit(self._fn, *args)
        except StopIteration:
            return None
        except BaseException as error:
            self._error = error  # for who asks for results: nobody hears it here
            return None
        future.id = n  # type: ignore[attr-defined]
        return future

    def _one_ended(self, future: Future[Any]) -> None:
        self._submit_next()
        with self._changed:
            self._ended.append(future)
            self._changed.notify_all()

    # Out

    @property
    def submitted(self) -> bool:
        """Whether all items have been read."""
        return self._submitted

    @property
    def finished(self) -> bool:
        """Whether all calls have ended."""
        return self._submitted and len(self._ended) == len(self._futures)

    @property
    def futures(self) -> Iterator[Future[Any]]:
        """The futures as they end."""
        return iter(self)

    def __iter__(self) -> Iterator[Future[Any]]:
        yield from self._each(self._ended)
        self._raise()

    @property
    def ordered(self) -> Iterator[Future[Any]]:
        """The futures in the order of the items, each when it has ended."""
        for future in self._each(self._futures):
            wait_for([future])
            yield future
        self._raise()

    def _each(self, futures: list[Future[Any]]) -> Iterator[Future[Any]]:
        for n in itertools.count():
            with self._changed:
                while len(futures) <= n and not self.finished:
                    self._changed.wait()
                if len(futures) <= n:
                    return
                future = futures[n]
            yield future

    def wait(self, timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
        """Wait for the calls that are on their way; as `concurrent.futures.wait`.

        With `FIRST_COMPLETED` that is for one. Else all items are read first, as far as the
        time goes.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            if return_when != FIRST_COMPLETED:
                self._changed.wait_for(lambda: self._submitted, timeout)
            futures = list(self._futures)
        left = None if end is None else max(0.0, end - time.monotonic())
        return wait_for(futures, left, return_when)

    def wait_until_read(self) -> None:
        """Wait until the last call has been submitted."""
        with self._changed:
            self._changed.wait_for(lambda: self._submitted)

    def result(self) -> list[Any]:
        """Return all results in the order of the items."""
        with self._changed:
            self._changed.wait_for(lambda: self.finished)
        self._raise()
        return [future.result() for future in self._futures]

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class Result:
    """The result of a call.

    Parameters
    ----------
    future : Future
        Of the call.
    """

    def __init__(self, future: Future[Any]) -> None:
        self._futures: Sequence[Future[Any]] = [future]

    def get(self, timeout: float | None = None) -> Any:
        """Return it, or raise what the call raised."""
        return self._futures[0].result(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended."""
        wait_for(self._futures, timeout)

    def ready(self) -> bool:
        """Whether the call has ended."""
        return all(future.done() for future in self._futures)

    def successful(self) -> bool:
        """Whether it ended well; a ValueError before it has ended."""
        if not self.ready():
            raise ValueError("The result is not ready; call wait() first")
        return not any(future.cancelled() or future.exception() for future in self._futures)

    succesful = successful  # mpipool's spelling


class MapResult(Result):
    """The results of many calls.

    Parameters
    ----------
    futures : list of Future
        Of the calls.
    """

    def __init__(self, futures: list[Future[Any]]) -> None:
        self._futures = futures

    def get(self, timeout: float | None = None) -> list[Any]:
        """Return them, or raise what the first of the failed calls raised."""
        end = None if timeout is None else time.monotonic() + timeout
        return [
            future.result(None if end is None else max(0.0, end - time.monotonic()))
            for future in self._futures
        ]
