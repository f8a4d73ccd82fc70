"""Shows the progress of tasks while they run."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED
from typing import Any


def show_progress(
    result: Any, interval: float, timeout: float | None, return_when: str = ALL_COMPLETED
) -> None:
    """Wait for a result, and show how many of its tasks have ended.

    Parameters
    ----------
    result : AsyncResult
        Has `progress`, `wait` and a length.
    interval : float
        Seconds between two updates.
    timeout : float or None
        The longest wait in seconds.
    return_when : str
        FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.
    """
    end = None if timeout is None else time.monotonic() + timeout
    bar = make_bar(len(result))
    try:
        while not _is_over(result, interval, return_when):
            bar(result.progress)
            if end is not None and time.monotonic() > end:
                break
        bar(result.progress)
    finally:
        bar(None)


def _is_over(result: Any, interval: float, return_when: str) -> bool:
    """Wait for some time; return whether the tasks have ended, or the first of them."""
    if return_when == ALL_COMPLETED:
        return bool(result.wait(interval))
    done, pending = result.wait(interval, return_when)
    if return_when == FIRST_COMPLETED:
        return bool(done)
    return not pending or any(each.exception() for each in done)


def make_bar(total: int) -> Any:
    """Return a function that shows a number of tasks; None ends the display."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _lines(total)
    shown = tqdm(total=total, unit="tasks")

    def update(done: int | None) -> None:
        if done is None:
            shown.close()
        else:
            shown.update(done - shown.n)

    return update


def _lines(total: int) -> Any:
    def update(done: int | None) -> None:
        sys.stdout.write("\n" if done is None else f"\r{done}/{total} tasks")
        sys.stdout.flush()

    return update
