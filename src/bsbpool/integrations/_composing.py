"""Futures made of futures, as `mpi4py.futures` has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any


def collect(fs: Iterable[Future[Any]]) -> Future[list[Any]]:
    """Return one future of the list of all results.

    It fails with the first failure, is cancelled with the first that is cancelled, and then
    cancels the others; cancelling it cancels all.

    Examples
    --------
    >>> parts = Future(), Future()
    >>> whole = collect(parts)
    >>> for part in parts:
    ...     part.set_result(1)
    >>> whole.result()
    [1, 1]
    """
    parts = list(fs)
    whole: Future[list[Any]] = Future()
    whole.add_done_callback(lambda _: _give_up(whole, parts))
    lock = threading.Lock()
    left = set(parts)

    def ended(part: Future[Any]) -> None:
        with lock:
            left.discard(part)
            last = not left
        if part.cancelled():
            whole.cancel()
        elif error := part.exception():
            _settle(whole, error)
        elif last:
            # The last to end well; a failure before it has settled the whole.
            _settle_by(whole, lambda: [each.result() for each in parts])

    if not parts:
        whole.set_result([])
    for part in set(parts):
        part.add_done_callback(ended)
    return whole


def compose(
    future: Future[Any],
    resulthook: Callable[[Any], Any] | None = None,
    excepthook: Callable[[BaseException], Any] | None = None,
) -> Future[Any]:
    """Return a future of what a hook makes of another future's end.

    Parameters
    ----------
    future : Future
        The other; it is cancelled when the new one is.
    resulthook : callable, optional
        Called with its result; returns the new result.
    excepthook : callable, optional
        Called with its error; returns another error, or a result.

    Examples
    --------
    >>> first = Future()
    >>> second = compose(first, resulthook=str)
    >>> first.set_result(1)
    >>> second.result()
    '1'
    """
    new: Future[Any] = Future()
    new.add_done_callback(lambda _: _give_up(new, [future]))

    def outcome() -> Any:
        error = future.exception()
        if error is None:
            result = future.result()
            return result if resulthook is None else resulthook(result)
        changed = error if excepthook is None else excepthook(error)
        if isinstance(changed, BaseException):
            raise changed
        return changed

    def ended(_: Future[Any]) -> None:
        if future.cancelled():
            new.cancel()
        else:
            _settle_by(new, outcome)

    future.add_done_callback(ended)
    return new


def _settle_by(future: Future[Any], outcome: Callable[[], Any]) -> None:
    try:
        value = outcome()
    except BaseException as error:
        _settle(future, error)
    else:
        _settle(future, None, value)


def _settle(future: Future[Any], error: BaseException | None, value: Any = None) -> None:
    with suppress(InvalidStateError):  # it has ended before
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _give_up(whole: Future[Any], parts: list[Future[Any]]) -> None:
    """Cancel what nobody waits for any more; tell who waits for a future that is cancelled."""
    if whole.cancelled():
        with suppress(InvalidStateError):
            whole.set_running_or_notify_cancel()
    for part in parts:
        part.cancel()
