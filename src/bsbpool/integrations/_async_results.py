"""Results in the style of `multiprocessing`, on futures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any


class Result:
    """The result of a call.

    Parameters
    ----------
    future : Future
        The future of the call.
    """

    def __init__(self, future: Future[Any]) -> None:
        self._futures: Sequence[Future[Any]] = [future]

    def get(self, timeout: float | None = None) -> Any:
        """Return the result, or raise the error of the call."""
        return self._futures[0].result(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended."""
        wait_for(self._futures, timeout)

    def ready(self) -> bool:
        """Whether the call has ended."""
        return all(future.done() for future in self._futures)

    def successful(self) -> bool:
        """Whether the call succeeded; raises a ValueError before it has ended."""
        if not self.ready():
            raise ValueError("The result is not ready; call wait() first")
        return not any(future.cancelled() or future.exception() for future in self._futures)

    succesful = successful  # the spelling of mpipool


class MapResult(Result):
    """The results of several calls.

    Parameters
    ----------
    futures : list of Future
        The futures of the calls.
    """

    def __init__(self, futures: list[Future[Any]]) -> None:
        self._futures = futures

    def get(self, timeout: float | None = None) -> list[Any]:
        """Return the results, or raise the first error in the order of the calls."""
        end = None if timeout is None else time.monotonic() + timeout
        return [
            future.result(None if end is None else max(0.0, end - time.monotonic()))
            for future in self._futures
        ]
