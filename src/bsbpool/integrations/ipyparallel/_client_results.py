"""The part of a client that finds the results of tasks by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bsbpool.integrations.ipyparallel._history import History
from bsbpool.integrations.ipyparallel.async_result import AsyncHubResult, AsyncResult
from bsbpool.integrations.ipyparallel.dependency import ids_of

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._engines import Engines
    from bsbpool.integrations.ipyparallel._tasks import Task


class ClientResults:
    """The base class of `Client`."""

    engines: Engines
    block: bool
    history: History
    outstanding: set[str]
    results: dict[str, Any]
    metadata: dict[str, Any]

    def engines_of(self, targets: Any) -> list[int]:
        """Return the numbers of engines."""
        raise NotImplementedError

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> Any:
        """Return the result of tasks.

        Parameters
        ----------
        indices_or_msg_ids : int, str, AsyncResult, or list of them, optional
            The tasks: indices in `history`, or ids. By default the last one.
        block : bool, optional
            Whether to wait and return the value.
        owner : bool
            With False, an `AsyncHubResult` is returned for tasks of other clients that have not
            ended.

        Raises
        ------
        KeyError
            When a task is not known: its result was not used for some time, or it is of another
            program.
        """
        wanted = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        single = isinstance(wanted, (int, str))
        ids = self._ids(wanted)
        tasks = [self._known(id) for id in ids]
        kind = AsyncResult if owner or self._are_here(tasks) else AsyncHubResult
        result = kind(self, tasks, "get_result", single_result=single).watch()
        return result.get() if (self.block if block is None else block) else result

    def _ids(self, wanted: Any) -> list[str]:
        if isinstance(wanted, int):
            return [self.history[wanted]]
        if isinstance(wanted, (list, tuple)):
            return [id for each in wanted for id in self._ids(each)]
        return ids_of(wanted)

    def _are_here(self, tasks: list[Task]) -> bool:
        """Whether tasks have ended or are of this client."""
        running = {task.msg_id for task in tasks if not task.done}
        return running <= self.outstanding

    def _known(self, id: str) -> Task:
        task = self.engines.find(id)
        if task is None:
            raise KeyError(f"No such task: {id!r}. Keep its AsyncResult to get its result later")
        return task

    def result_status(self, msg_ids: Any, status_only: bool = True) -> dict[str, Any]:
        """Return which tasks have ended: their ids as "pending" and "completed".

        Parameters
        ----------
        msg_ids : str, AsyncResult or list of them
            The tasks.
        status_only : bool
            Whether to leave out the results of those that have ended.
        """
        tasks = [self._known(id) for id in self._ids(msg_ids)]
        found: dict[str, Any] = {
            "pending": [task.msg_id for task in tasks if not task.done],
            "completed": [task.msg_id for task in tasks if task.done],
        }
        if not status_only:
            found |= {task.msg_id: task.error or task.value for task in tasks if task.done}
        return found

    def queue_status(self, targets: Any = "all", verbose: bool = False) -> dict[Any, Any]:
        """Return the tasks of engines.

        Returns
        -------
        dict
            For each engine the numbers of tasks that wait for it or run ("queue"), of balanced
            ones ("tasks"), and of those that have ended ("completed"); with `verbose` their ids.
            "unassigned" has the balanced tasks that have no engine yet. If `targets` is one
            number, only the dictionary of that engine.
        """
        status: dict[Any, Any] = {}
        waiting = self.engines.outstanding()
        for id in self.engines_of(targets):
            queued = [t.msg_id for t in waiting if t.engine_id == id and t.reschedule is None]
            tasks = [t.msg_id for t in waiting if t.engine_id == id and t.reschedule is not None]
            status[id] = {
                "queue": queued if verbose else len(queued),
                "tasks": tasks if verbose else len(tasks),
                "completed": self.engines.ids_of(id) if verbose else self.engines.n_done[id],
            }
        if isinstance(targets, int):
            return next(iter(status.values()))
        free = [task.msg_id for task in waiting if task.engine_id is None]
        status["unassigned"] = free if verbose else len(free)
        return status

    def purge_local_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Forget results that were kept by id.

        Parameters
        ----------
        jobs : "all", str, AsyncResult or list of them
            The tasks.
        targets : object
            The engines whose results are forgotten.

        Raises
        ------
        RuntimeError
            If tasks have not ended.
        """
        ids = list(self.history) if jobs == "all" else ids_of(jobs)
        if running := self.outstanding.intersection(ids):
            raise RuntimeError(f"Cannot purge outstanding tasks: {sorted(running)}")
        if jobs == "all":
            self.results.clear()
            self.metadata.clear()
            self.engines.forget_ended()
        for msg_id in ids:
            self.results.pop(msg_id, None)
            self.metadata.pop(msg_id, None)
        self.engines.forget_ended(ids)
        if targets:
            for engine_id in self.engines_of(targets):
                self.engines.forget_ended(self.engines.ids_of(engine_id))

    def purge_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Forget results; see `purge_local_results`."""
        self.purge_local_results(jobs, targets)

    def purge_everything(self) -> None:
        """Forget all results and the history."""
        self.purge_local_results("all")
        self.history.clear()
