"""The engines of a program, as its clients share them: an executor, and tasks that are not done."""

from __future__ import annotations

import itertools
import platform
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

from bsbpool.exceptions import WorkerLostError
from bsbpool.futures import PoolExecutor
from bsbpool.futures.base_executor import BaseExecutor
from bsbpool.futures.call_options import Special, settings_of
from bsbpool.futures.executor import backend_of
from bsbpool.integrations.ipyparallel import _engine, error
from bsbpool.integrations.ipyparallel._future import TaskFuture
from bsbpool.integrations.ipyparallel._tasks import Task, system_error

MOST_KEPT = 1024
"""How many tasks that have ended can be found by their ids when their results are not used."""
MOST_BYTES_KEPT = 4096
"""The size of the results of such tasks."""
MOST_SPECIALS = 256


class Engines:
    """The engines.

    Parameters
    ----------
    executor : PoolExecutor
        Runs the tasks: without prefetch, so that no task waits behind another one.

    Attributes
    ----------
    ids : list of int
        The engines that are alive, in order.
    uuids : dict of int to str
        Their identities.
    pids : dict of int to int
        Their processes.
    tasks : mapping of str to Task
        The tasks that have not ended or whose results are in use, by id.
    n_done : dict of int to int
        How many tasks each engine has run.
    prefetch : bool
        Whether quick tasks are sent ahead.
    """

    def __init__(self, executor: PoolExecutor) -> None:
        self.executor = executor
        self.lock = threading.RLock()
        self.prefetch = False
        self.tasks: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self._outstanding: dict[str, Task] = {}
        self._ended: OrderedDict[str, Task] = OrderedDict()
        self._session = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._specials: dict[Any, Special | None] = {}
        self._backend = backend_of(executor)
        self.uuids: dict[int, str] = {}
        self.pids: dict[int, int] = {}
        self.offsets: dict[int, float] = {}
        self._ranks = self._backend.worker_ranks
        self.ids = list(range(len(self._ranks)))
        self.n_done = dict.fromkeys(self.ids, 0)
        self._connect()

    def _connect(self) -> None:
        """Give the engines their numbers, and estimate the differences of their clocks."""
        here = platform.node()
        futures = {id: self._on(id).submit(_engine.identify, id) for id in self.ids}
        for id, future in futures.items():
            self.uuids[id], self.pids[id], host = future.result()
            if host != here:
                self.offsets[id] = self._offset(id)

    def _offset(self, id: int) -> float:
        """Return what to add to the clock of an engine on another host."""
        found = []
        for _ in range(5):
            sent = time.time()
            there = self._on(id).submit(time.time).result()
            received = time.time()
            found.append((received - sent, (sent + received) / 2 - there))
        return min(found)[1]

    # ------------------------------------------------------------ submitting

    def new_id(self) -> str:
        """Return the id of a new task."""
        return f"{self._session}_{next(self._numbers)}"

    def _on(self, id: int) -> BaseExecutor:
        """Return a view of the executor for calls on one engine."""
        return self.executor.options(targets=[self._ranks[id]])

    def register(self, task: Task) -> None:
        """Enter a task that is about to be submitted."""
        task.on_failure = self.engine_of
        self.tasks[task.msg_id] = task
        self._outstanding[task.msg_id] = task

    def submit(self, task: Task, ids: tuple[int, ...] | None) -> None:
        """Send a task to one of some engines."""
        if task.abort_requested:
            task.was_cancelled()
            return
        if ids is not None and len(ids) == 1:
            task.engine_id = ids[0]
        task.future = future = TaskFuture(self._backend, task)
        try:
            special = self._special(ids, task.time_limit)
            self._backend.submit_by_name(future, task.function, task.args, special)
        except Exception as raised:  # the cluster was stopped, or its pool has ended
            task.fail(system_error(raised, task.engine_id))

    def engine_of(self, raised: BaseException, task: Task) -> int | None:
        """Return the engine of a call that failed; one that has died is not used any more."""
        if not isinstance(raised, WorkerLostError):
            return task.engine_id
        id = self._ranks.index(raised.rank) if raised.rank in self._ranks else task.engine_id
        self.refresh()
        return id

    def refresh(self) -> None:
        """Drop the engines that have died."""
        alive = set(self._backend.worker_ranks)
        dead = [id for id in self.ids if self._ranks[id] not in alive]
        if dead:
            self.retire(dead)

    def _special(self, ids: tuple[int, ...] | None, time_limit: float | None) -> Special | None:
        """Return the options of tasks that run on one of some engines, on any if None."""
        key = ids, time_limit
        if key not in self._specials:
            options: dict[str, Any] = {}
            if ids is not None:
                options["targets"] = [self._ranks[id] for id in ids]
            if time_limit is not None:
                options["timeout"] = time_limit
            if self._ranks == [0]:
                # In a thread, only calls with options are jobs, which send output and can be
                # cancelled.
                options.setdefault("capture_output", False)
            if len(self._specials) >= MOST_SPECIALS:
                self._specials.clear()
            self._specials[key] = settings_of(options).special
        return self._specials[key]

    def abort(self, tasks: Iterable[Task], running: bool = False) -> None:
        """Abort tasks that have not begun; with `running`, also those that run."""
        for task in tasks:
            task.abort_requested = True  # it does not run again
            future = task.future
            if future is not None and not future.done():
                future.cancel(running)
            elif not task.done:  # it waits for its dependencies
                task.fail(error.TaskAborted("The task was aborted"))

    def forget(self, task: Task) -> None:
        """Count a task that has ended; it can be found by its id for a while."""
        id = task.engine_id
        if id is not None:
            task.engine_uuid = self.uuids.get(id)
            if (offset := self.offsets.get(id)) and task.started and task.completed:
                task.started, task.completed = task.started + offset, task.completed + offset
            if task.started is not None:
                self.n_done[id] += 1
        self._outstanding.pop(task.msg_id, None)
        if task.size > MOST_BYTES_KEPT or task.extras is not None or task.output is not None:
            return
        with self.lock:
            self._ended[task.msg_id] = task
            while len(self._ended) > MOST_KEPT:
                self._ended.popitem(last=False)

    # ------------------------------------------------------------ as the runner of results

    def is_current_thread(self) -> bool:
        """Whether the current thread ends the tasks."""
        return self._backend.is_current_thread()

    def withdraw(self, future: Any) -> bool:
        """Return False: results abort their tasks themselves."""
        return False

    def interrupt(self, future: Any) -> bool:
        """Return False: results abort their tasks themselves."""
        return False

    def is_running(self, future: Any) -> bool:
        """Whether a task of a result runs."""
        return any(task.future is not None and task.future.running() for task in future.tasks)

    # ------------------------------------------------------------ queries

    def outstanding(self) -> list[Task]:
        """Return the tasks that have not ended."""
        return list(self._outstanding.values())

    def find(self, msg_id: str) -> Task | None:
        """Return a task by its id."""
        return self.tasks.get(msg_id)

    def ids_of(self, engine_id: int) -> list[str]:
        """Return the ids of the tasks that an engine has run, as far as they are known."""
        with self.lock:
            return [id for id, task in self._ended.items() if task.engine_id == engine_id]

    def forget_ended(self, ids: Iterable[str] | None = None) -> None:
        """Forget tasks that have ended, by default all."""
        with self.lock:
            for id in list(self._ended) if ids is None else ids:
                self._ended.pop(id, None)

    def retire(self, ids: Iterable[int]) -> None:
        """Send no more tasks to some engines."""
        for id in ids:
            if id in self.ids:
                self.ids.remove(id)

    def set_prefetch(self, prefetch: bool) -> None:
        """Set whether quick tasks are sent before an engine has ended the one before."""
        self.prefetch = prefetch
        self._backend.set_prefetch(prefetch)
