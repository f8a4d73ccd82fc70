"""Futures that are composed of other futures, as in `mpi4py.futures`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def collect(fs: Iterable[Future[T]]) -> Future[list[T]]:
    """Return a future of the list of all results.

    It fails or is cancelled with the first future that fails or is cancelled, and then cancels the
    others. Cancelling it cancels all of them.

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
    whole: Future[list[T]] = Future()
    whole.add_done_callback(lambda _: _cancel_parts(whole, parts))
    lock = threading.Lock()
    left = set(parts)

    def part_done(part: Future[T]) -> None:
        with lock:
            left.discard(part)
            last = not left
        if part.cancelled():
            whole.cancel()
        elif error := part.exception():
            _settle(whole, error)
        elif last:
            # All have succeeded, or the whole was settled by a failure before.
            _settle_with(whole, lambda: [each.result() for each in parts])

    if not parts:
        whole.set_result([])
    for part in set(parts):
        part.add_done_callback(part_done)
    return whole


def compose(
    future: Future[Any],
    resulthook: Callable[[Any], Any] | None = None,
    excepthook: Callable[[BaseException], Any] | None = None,
) -> Future[Any]:
    """Return a future whose result a hook computes from the result or error of another one.

    Parameters
    ----------
    future : Future
        The other future; cancelling the new future cancels it.
    resulthook : callable, optional
        Called with the result; returns the new result.
    excepthook : callable, optional
        Called with the error; returns another error, or a result.

    Examples
    --------
    >>> first = Future()
    >>> second = compose(first, resulthook=str)
    >>> first.set_result(1)
    >>> second.result()
    '1'
    """
    new: Future[Any] = Future()
    new.add_done_callback(lambda _: _cancel_parts(new, [future]))

    def outcome() -> Any:
        error = future.exception()
        if error is None:
            result = future.result()
            return result if resulthook is None else resulthook(result)
        changed = error if excepthook is None else excepthook(error)
        if isinstance(changed, BaseException):
            raise changed
        return changed

    def future_done(_: Future[Any]) -> None:
        if future.cancelled():
            new.cancel()
        else:
            _settle_with(new, outcome)

    future.add_done_callback(future_done)
    return new


def _settle_with(future: Future[Any], outcome: Callable[[], Any]) -> None:
    try:
        value = outcome()
    except BaseException as error:
        _settle(future, error)
    else:
        _settle(future, None, value)


def _settle(future: Future[Any], error: BaseException | None, value: Any = None) -> None:
    with suppress(InvalidStateError):  # it is done already
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)


def _cancel_parts(whole: Future[Any], parts: list[Future[Any]]) -> None:
    """Cancel the parts of a future that is done; if it was cancelled, notify its waiters."""
    if whole.cancelled():
        with suppress(InvalidStateError):
            whole.set_running_or_notify_cancel()
    for part in parts:
        part.cancel()
