"""Balanced tasks: their dependencies, the engines that may run them, and further attempts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bsbpool.integrations.ipyparallel import error
from bsbpool.timers import timers

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._engines import Engines
    from bsbpool.integrations.ipyparallel._tasks import Task


class Scheduler:
    """Sends tasks to engines when their dependencies are met.

    Parameters
    ----------
    engines : Engines
        The engines.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def submit(self, task: Task, timeout: float | None) -> None:
        """Send a task when its dependencies have ended, within `timeout` seconds."""
        task.reschedule = self._again
        if not task.after and not task.follow:
            self._send(task)
            return
        if not self._are_known(task):
            return
        Waiting(self, task, self._find(task), timeout).check()

    def _find(self, task: Task) -> list[Task]:
        ids = {*(task.after or ()), *(task.follow or ())}
        return [found for id in ids if (found := self._engines.find(id)) is not None]

    def _are_known(self, task: Task) -> bool:
        unknown = [
            id for id in {*(task.after or ()), *(task.follow or ())}
            if self._engines.find(id) is None
        ]  # fmt: skip
        if unknown:
            task.fail(
                error.InvalidDependency(f"{unknown[0]!r} is not a task of this program, or its "
                                        "result is not used any more")
            )  # fmt: skip
        return not unknown

    def start(self, task: Task, ended: Iterable[Task]) -> None:
        """Send a task whose dependencies are met."""
        if not task.follow:
            self._send(task)
            return
        places = [each.engine_id for each in ended if each.msg_id in task.follow]
        ran = {id for id in places if id is not None}
        if task.follow.all and len(ran) > 1:
            task.fail(
                error.ImpossibleDependency(
                    f"the tasks that this one follows have run on the engines {sorted(ran)}"
                )
            )
            return
        self._send(task, ran)

    def _send(self, task: Task, places: set[int] | None = None) -> None:
        allowed = self._allowed(task, places)
        if allowed == ():
            task.fail(error.ImpossibleDependency("no engine is left that may run the task"))
            return
        task.allowed = allowed
        self._engines.submit(task, allowed)

    def _allowed(self, task: Task, places: set[int] | None = None) -> tuple[int, ...] | None:
        """Return the engines that may run a task; None for any."""
        alive = self._engines.ids
        if task.allowed is None and places is None and not task.tried:
            all_alive = len(alive) == len(self._engines.n_done)
            return None if all_alive else tuple(alive)
        allowed = alive if task.allowed is None else [id for id in task.allowed if id in alive]
        return tuple(id for id in allowed if places is None or id in places)

    def _again(self, task: Task, raised: BaseException) -> bool:
        """Send a task again that has failed, if it may; return whether it runs again."""
        unmet = isinstance(raised, error.UnmetDependency)
        id = self._engines.engine_of(raised, task)
        task.engine_id = id
        if id is not None:
            task.tried.add(id)
        if task.abort_requested:
            return False
        allowed = self._allowed(task)
        choice = tuple(id for id in allowed or () if id not in task.tried)
        if unmet:
            if not choice:
                task.fail(error.ImpossibleDependency("no engine is left that can run the task"))
                return True
        elif task.retries <= 0:
            return False
        else:
            task.retries -= 1
            if not choice:  # all have tried
                task.tried.clear()
                choice = allowed or tuple(self._engines.ids)
            if not choice:
                return False
        task.engine_id = None
        self._engines.submit(task, choice)
        return True


class Waiting:
    """A task that waits for its dependencies.

    Parameters
    ----------
    scheduler : Scheduler
        Sends the task.
    task : Task
        The task.
    dependencies : list of Task
        The tasks of `after` and `follow`.
    timeout : float or None
        The seconds that it waits.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        task: Task,
        dependencies: list[Task],
        timeout: float | None,
    ) -> None:
        self._scheduler, self._task, self._dependencies = scheduler, task, dependencies
        self._timer = -1
        self._over = False
        if timeout is not None:
            self._timer = timers.call_at(time.monotonic() + timeout, self._expire)

    def check(self) -> None:
        """Send the task if its dependencies are met; end it if they cannot be."""
        for each in self._dependencies:
            each.call_at_end(self._ended)

    def _ended(self, _: Task) -> None:
        with self._scheduler._engines.lock:
            if self._over or self._task.done:
                return
            done = [each for each in self._dependencies if each.done]
            succeeded = {each.msg_id for each in done if each.error is None}
            failed = {each.msg_id for each in done if each.error is not None}
            named = [each for each in (self._task.after, self._task.follow) if each]
            impossible = any(each.unreachable(succeeded, failed) for each in named)
            met = all(each.check(succeeded, failed) for each in named)
            self._over = impossible or met
        if impossible:
            self._stop()
            self._task.fail(
                error.ImpossibleDependency(_why_impossible(succeeded, failed))
            )
        elif met:
            self._stop()
            self._scheduler.start(self._task, done)

    def _stop(self) -> None:
        timers.cancel(self._timer)

    def _expire(self) -> None:
        with self._scheduler._engines.lock:
            if self._over or self._task.done:
                return
            self._over = True
        self._task.fail(
            error.DependencyTimeout("the dependencies of the task did not end in time")
        )


def _why_impossible(succeeded: set[str], failed: set[str]) -> str:
    ended = [f"{len(ids)} of them {verb}" for ids, verb in
             ((succeeded, "succeeded"), (failed, "failed")) if ids]  # fmt: skip
    return f"The tasks on which this one depends did not end as it requires: {', '.join(ended)}"
