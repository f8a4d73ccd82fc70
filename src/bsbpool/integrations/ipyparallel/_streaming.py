"""Shows what tasks write while they run."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from bsbpool.integrations.ipyparallel._progress import make_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from bsbpool.integrations.ipyparallel._tasks import Task

SECONDS_BETWEEN_UPDATES = 0.05
DEFAULT_PROGRESS_AFTER = 5.0
"""Seconds until a progress bar is shown."""


def wait_and_stream(result: Any, progress_after: float | None = None) -> None:
    """Wait for tasks; show their text while they run, and their errors when they have ended.

    Parameters
    ----------
    result : AsyncResult
        The tasks.
    progress_after : float, optional
        Seconds until a progress bar is shown; a negative number for none.
    """
    after = DEFAULT_PROGRESS_AFTER if progress_after is None else progress_after
    show_bar_at = time.monotonic() + after if after >= 0 else float("inf")
    streamed = StreamedOutput(result.tasks)
    bar: Callable[[int | None], None] | None = None
    try:
        while True:
            over = result.wait(SECONDS_BETWEEN_UPDATES)
            streamed.update()
            if bar is None and not over and time.monotonic() > show_bar_at:
                bar = make_bar(len(result))
            if bar is not None:
                bar(result.progress)
            if over:
                return
    finally:
        if bar is not None:
            bar(None)


class StreamedOutput:
    """Writes the text of tasks to the streams of this process, and names the engine.

    Parameters
    ----------
    tasks : sequence of Task
        The tasks.
    """

    def __init__(self, tasks: tuple[Task, ...]) -> None:
        self._tasks = tasks
        self._n_shown: dict[tuple[Task, str], int] = {}
        self._failed: set[Task] = set()
        self._last: tuple[Task, str] | None = None
        self._in_line = False

    def update(self) -> None:
        """Write what has arrived since the last time."""
        for task in self._tasks:
            ended = task.done  # first: text that arrives now is written next time
            self._write_new(task, "stdout")
            self._write_new(task, "stderr")
            if ended and task.error is not None and task not in self._failed:
                self._failed.add(task)
                self._write_error(task)

    def _write_new(self, task: Task, stream: str) -> None:
        key = task, stream
        text = task.text(stream)
        new = text[self._n_shown.get(key, 0) :]
        if not new:
            return
        self._n_shown[key] = len(text)
        file = getattr(sys, stream)
        if self._last != key:
            self._end_line()
            file.write(f"[{stream}:{task.engine_id}] ")
            if "\n" in new.rstrip("\n"):
                file.write("\n")
        file.write(new)
        file.flush()
        self._last, self._in_line = key, not new.endswith("\n")

    def _write_error(self, task: Task) -> None:
        assert task.error is not None
        self._end_line()
        sys.stderr.write("\n".join(task.error.render_traceback()) + "\n")
        self._last = None

    def _end_line(self) -> None:
        if self._in_line and self._last is not None:
            getattr(sys, self._last[1]).write("\n")
        self._in_line = False
