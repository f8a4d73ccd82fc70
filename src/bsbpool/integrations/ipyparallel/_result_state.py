"""How long the tasks of a result take, and whether their arguments have been sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._tasks import Task
    from bsbpool.integrations.ipyparallel._tracker import Tracker


def seconds_of(timeout: float | None) -> float | None:
    """Return a limit of a wait in seconds; None for no limit."""
    return None if timeout is None or timeout < 0 else timeout


class ResultState:
    """The base class of `AsyncResult`."""

    _tasks: tuple[Task, ...]
    _tracker: Tracker | None

    def ready(self) -> bool:
        """Return whether all tasks have ended."""
        raise NotImplementedError

    @property
    def progress(self) -> int:
        """The number of tasks that have ended."""
        return sum(task.done for task in self._tasks)

    @property
    def elapsed(self) -> float:
        """The seconds since the first task was submitted, until the last one ended."""
        if self.ready():
            return self.wall_time
        return time.time() - min(task.submitted for task in self._tasks)

    def _check_ready(self) -> None:
        if not self.ready():
            raise TimeoutError("Result not ready.")

    @property
    def serial_time(self) -> float:
        """The seconds that the tasks have run, in all."""
        self._check_ready()
        return sum(
            task.completed - task.started
            for task in self._tasks
            if task.completed is not None and task.started is not None
        )

    @property
    def wall_time(self) -> float:
        """The seconds from the first submission to the last result."""
        self._check_ready()
        received = max(task.received or 0.0 for task in self._tasks)
        return received - min(task.submitted for task in self._tasks)

    def timedelta(
        self,
        start: Any,
        end: Any,
        start_key: Callable[[Iterable[datetime]], datetime] = min,
        end_key: Callable[[Iterable[datetime]], datetime] = max,
    ) -> float:
        """Return the seconds between two times, or lists of them.

        Parameters
        ----------
        start, end : datetime or list of datetime
            The times.
        start_key, end_key : callable
            Choose one of a list.
        """
        first = start if isinstance(start, datetime) else start_key(start)
        last = end if isinstance(end, datetime) else end_key(end)
        return (last - first).total_seconds()

    # ------------------------------------------------------------ sending

    @property
    def sent(self) -> bool:
        """Whether the arguments have been sent, so that they may be changed."""
        return self._tracker is None or self._tracker.done

    def wait_for_send(self, timeout: float | None = -1) -> bool:
        """Wait until the arguments have been sent.

        Raises
        ------
        TimeoutError
            If they have not been sent in time.
        """
        if self._tracker is not None:
            self._tracker.wait(seconds_of(timeout))
        return True

    wait_on_send = wait_for_send
