"""The future of a task in the executor: it tells the task when it has ended, and nobody else."""

from __future__ import annotations

from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import TYPE_CHECKING, Any

from bsbpool.futures.future import PoolFuture

if TYPE_CHECKING:
    from bsbpool.futures.backend import Backend
    from bsbpool.integrations.ipyparallel._tasks import Task


class TaskFuture(PoolFuture[Any]):
    """The future of a task. Nobody waits for it, so it needs no condition.

    Parameters
    ----------
    backend : Backend
        The backend of the executor.
    task : Task
        The task.
    """

    __slots__ = ("_task",)

    def __init__(self, backend: Backend, task: Task) -> None:
        super().__init__(backend)
        self._task = task

    def settle_unobserved(self, error: BaseException | None, value: Any) -> bool:
        """Set the error or the result."""
        if not self.done():
            self._state = FINISHED
            self.pool_job, job = None, self.pool_job
            self._task.ended(error, value, self.ended_output if job is None else job.output)
        return True

    def mark_cancelled(self) -> None:
        """Set the state to cancelled."""
        if not self.done():
            self._state = CANCELLED_AND_NOTIFIED
            self._task.was_cancelled()
