"""Tells when the arguments of tasks have been sent."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._tasks import Task


class Tracker:
    """Tells when the arguments of tasks may be changed.

    MPI reads large arguments until the message has been sent. This is known when the task has
    ended, or for small arguments, which are copied, at once.

    Parameters
    ----------
    tasks : sequence of Task
        The tasks.
    size : int
        The number of bytes of their arguments that are not copied.
    """

    def __init__(self, tasks: Sequence[Task], size: int) -> None:
        self._tasks = list(tasks) if size else []

    @property
    def done(self) -> bool:
        """Whether the arguments have been sent."""
        self._tasks = [task for task in self._tasks if not task.done]
        return not self._tasks

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the arguments have been sent.

        Raises
        ------
        TimeoutError
            If they have not been sent in time.
        """
        if self.done:
            return
        ended = threading.Event()

        def look(_: Task) -> None:
            if self.done:
                ended.set()

        for task in self._tasks:
            task.call_at_end(look)
        if not ended.wait(timeout):
            for task in self._tasks:
                task.forget_call(look)
            raise TimeoutError("The arguments have not been sent yet.")
