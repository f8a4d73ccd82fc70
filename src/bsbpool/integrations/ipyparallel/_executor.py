"""Views as executors of the standard library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._roles import CallingView
    from bsbpool.integrations.ipyparallel.async_result import AsyncResult


class ViewExecutor(Executor):
    """Submits calls to a view.

    Parameters
    ----------
    view : View
        The view.

    Attributes
    ----------
    view : View
        The view.
    """

    def __init__(self, view: CallingView) -> None:
        self.view = view

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AsyncResult:
        """Submit a call; return its result."""
        result: AsyncResult = self.view.apply_async(fn, *args, **kwargs)
        return result

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any
    ) -> Iterator[Any]:
        """Return an iterator over the results of calls; see `View.imap`."""
        options.pop("timeout", None)
        return self.view.imap(fn, *iterables, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls; the engines stay."""
        if cancel_futures:
            self.view.abort()
        if wait:
            self.view.wait()
