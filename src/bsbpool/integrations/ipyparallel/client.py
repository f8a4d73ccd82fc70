"""The client: the engines, and the results of tasks."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from typing import TYPE_CHECKING, Any

from bsbpool.integrations.ipyparallel import _engine, _program, error
from bsbpool.integrations.ipyparallel._client_results import ClientResults
from bsbpool.integrations.ipyparallel._history import History
from bsbpool.integrations.ipyparallel._progress import show_progress
from bsbpool.integrations.ipyparallel._refused import REFUSED, refuse
from bsbpool.integrations.ipyparallel._scheduler import Scheduler
from bsbpool.integrations.ipyparallel._tasks import Task, wait_for_tasks
from bsbpool.integrations.ipyparallel.async_result import AsyncResult
from bsbpool.integrations.ipyparallel.balanced_view import LoadBalancedView
from bsbpool.integrations.ipyparallel.dependency import ids_of
from bsbpool.integrations.ipyparallel.direct_view import BroadcastView, DirectView
from bsbpool.naming import brief

if TYPE_CHECKING:
    from typing import Self

    from bsbpool.integrations.ipyparallel._engines import Engines
    from bsbpool.integrations.ipyparallel._executor import ViewExecutor
    from bsbpool.integrations.ipyparallel.view import View

IGNORED = ("connection_info", "profile", "cluster_id", "timeout", "context", "url_file", "cluster")


class Client(ClientResults):
    """Gives access to the engines of the program.

    The engines are the workers of ``mpiexec -n N python -m bsbpool.run script.py``, or those of a
    `Cluster`.

    Parameters
    ----------
    connection_info, profile, cluster_id, timeout : object, optional
        Accepted for programs that were written for ipyparallel, and ignored.
    **ignored
        Also ignored.

    Attributes
    ----------
    ids : list of int
        The engines.
    block : bool
        The flag `block` of views that are made.
    history : list of str
        The ids of the tasks that this client has submitted.
    outstanding : set of str
        Those that have not ended.
    results, metadata : dict
        Results and metadata that were kept by id; `AsyncResult` has those of its tasks.

    Raises
    ------
    NoEnginesRegistered
        If there are no engines.
    """

    def __init__(
        self, connection_info: Any = None, *, engines: Engines | None = None, **ignored: Any
    ) -> None:
        self.engines = engines or _program.engines_of_program()
        given = [name for name in IGNORED if ignored.get(name)]
        if given and not _program.warned:
            _program.warned.append(given[0])
            warnings.warn(
                f"Client({given[0]}=...) is ignored: the engines are the workers of this program",
                stacklevel=2,
            )
        self.scheduler = Scheduler(self.engines)
        self.block = False
        self.history = History()
        self.outstanding: set[str] = set()
        self.results: dict[str, Any] = {}
        self.metadata = _KnownMetadata()
        self._closed = False
        if "IPython" in sys.modules:
            from bsbpool.integrations.ipyparallel import _magics

            _magics.offer(view_of_program)

    # ------------------------------------------------------------ engines

    @property
    def ids(self) -> list[int]:
        """The engines that are alive, in order."""
        self.engines.refresh()
        return list(self.engines.ids)

    def __len__(self) -> int:
        return len(self.engines.ids)

    def __iter__(self) -> Iterator[DirectView]:
        for id in self.ids:
            yield self.direct_view(id)

    def __getitem__(self, key: int | slice | list[int] | tuple[int, ...] | range) -> DirectView:
        """Return a direct view of one engine, or of several."""
        if not isinstance(key, (int, slice, list, tuple, range)):
            raise TypeError(
                f"a client is indexed by an int, a slice or a list of ints, got {brief(key)}"
            )
        targets = key if isinstance(key, int) else list(key) if isinstance(key, range) else key
        return self.direct_view(targets)

    def _build_targets(self, targets: Any) -> tuple[list[bytes], list[int]]:
        """Return the identities and the numbers of engines."""
        ids = self.ids
        if type(targets) is int and targets in ids:
            return [self.engines.uuids[targets].encode()], [targets]
        if not ids:
            raise error.NoEnginesRegistered("There are no engines")
        chosen = _choose(targets, ids)
        return [self.engines.uuids[id].encode() for id in chosen], chosen

    def engines_of(self, targets: Any) -> list[int]:
        """For internal use: return the numbers of engines."""
        return self._build_targets(targets)[1]

    def direct_view(self, targets: Any = "all", **flags: Any) -> DirectView:
        """Return a view that runs each call on all of some engines."""
        return DirectView(self, self._targets(targets), **self._view_flags(flags))

    def broadcast_view(
        self, targets: Any = "all", is_coalescing: bool = False, **flags: Any
    ) -> BroadcastView:
        """Return a direct view."""
        flags = self._view_flags(flags)
        return BroadcastView(self, self._targets(targets), is_coalescing=is_coalescing, **flags)

    def load_balanced_view(self, targets: Any = None, **flags: Any) -> LoadBalancedView:
        """Return a view that runs each call on one of some engines."""
        if targets == "all":
            targets = None
        if targets is not None:
            targets = self.engines_of(targets)
        return LoadBalancedView(self, targets, **self._view_flags(flags))

    def _view_flags(self, flags: dict[str, Any]) -> dict[str, Any]:
        return {"block": self.block, **flags}

    def _targets(self, targets: Any) -> Any:
        if targets is None or targets == "all":
            return "all"
        chosen = self.engines_of(targets)
        return chosen[0] if isinstance(targets, int) else chosen

    def executor(self, targets: Any = None) -> ViewExecutor:
        """Return a `concurrent.futures.Executor` that submits to a balanced view."""
        return self.load_balanced_view(targets).executor

    def wait_for_engines(
        self, n: int | None = None, *, timeout: float = -1, block: bool = True, **ignored: Any
    ) -> Any:
        """Wait for engines. There are no more than the workers of the program.

        Raises
        ------
        TimeoutError
            If there are fewer than `n` engines.
        """
        future: Future[None] = Future()
        if n is None or n <= len(self):
            future.set_result(None)
        else:
            future.set_exception(
                TimeoutError(
                    f"{n} engines do not become available: there are {len(self)}, the workers "
                    f"of this program; start it with `mpiexec -n {n + 1}`"
                )
            )
        return future.result() if block else future

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Empty the namespaces of engines."""
        view = self.direct_view("all" if targets is None else targets)
        result = view.call_on_engines(_engine.run_clear, (), "clear")
        return result.get() if (self.block if block is None else block) else result

    def shutdown(
        self,
        targets: Any = "all",
        restart: bool = False,
        hub: bool = False,
        block: bool | None = None,
    ) -> None:
        """Send no more tasks to engines; their processes end with the program.

        Raises
        ------
        NotImplementedError
            With `restart`.
        """
        if restart:
            refuse("restart engines", "call clear() to empty their namespaces")
        self.engines.retire(self.engines_of(targets))

    # ------------------------------------------------------------ tasks

    def new_task(
        self, view: View, function: Any, args: tuple[Any, ...], label: str | None
    ) -> Task:
        """For internal use: make a task of a view and note its id."""
        task = Task(self.engines.new_id(), function, args, label)
        id = task.msg_id
        self.engines.register(task)
        self.history.add(id)
        view.history.add(id)
        self.outstanding.add(id)
        view.outstanding.add(id)
        task.on_end = Forgetting(self.engines, (self.outstanding, view.outstanding))
        return task

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for tasks, by default those of this client that have not ended.

        Parameters
        ----------
        jobs : str, AsyncResult, Future or list of them, optional
            The tasks.
        timeout : float, optional
            The longest wait in seconds; None or a negative number for no limit.

        Returns
        -------
        bool
            Whether all have ended.
        """
        seconds = None if timeout is None or timeout < 0 else timeout
        tasks, others = self._split(list(self.outstanding) if jobs is None else jobs)
        start = time.monotonic()
        if not wait_for_tasks(tasks, seconds):
            return False
        if seconds is not None:
            seconds = max(seconds - (time.monotonic() - start), 0.0)
        return not (others and wait_for_futures(others, seconds).not_done)

    def _split(self, jobs: Any) -> tuple[list[Task], list[Future[Any]]]:
        """Return the tasks that `jobs` names, and the futures that are not of this package."""
        tasks: list[Task] = []
        others: list[Future[Any]] = []
        for job in [jobs] if isinstance(jobs, (str, int, Future)) else jobs:
            if isinstance(job, AsyncResult):
                tasks += job.tasks
            elif isinstance(job, Future):
                others.append(job)
            else:
                id = self.history[job] if isinstance(job, int) else job
                if (found := self.engines.find(id)) is not None:
                    tasks.append(found)
        return tasks, others

    def wait_interactive(
        self, jobs: Any = None, interval: float = 0.1, timeout: float | None = -1
    ) -> None:
        """Wait for tasks and show the progress meanwhile; see `wait`."""
        ids = list(self.outstanding) if jobs is None else ids_of(jobs)
        tasks = [task for id in ids if (task := self.engines.find(id)) is not None]
        if tasks:
            seconds = None if timeout is None or timeout < 0 else timeout
            show_progress(AsyncResult(self, tasks).watch(), interval, seconds)

    def spin(self) -> None:
        """Do nothing: results arrive without a call."""

    def abort(
        self, jobs: Any = None, targets: Any = None, block: bool | None = None,
        running: bool = False,
    ) -> None:  # fmt: skip
        """Abort tasks that have not begun, by default all of this client.

        Parameters
        ----------
        jobs : str, AsyncResult or list of them, optional
            The tasks.
        targets : object, optional
            The engines whose tasks are aborted, if no `jobs` are given.
        block : bool, optional
            Ignored: the tasks are aborted at once.
        running : bool
            Whether to cancel tasks that run, too.
        """
        ids = list(self.outstanding) if jobs is None else ids_of(jobs)
        tasks = [task for id in ids if (task := self.engines.find(id)) is not None]
        if jobs is None and targets is not None:
            chosen = self.engines_of(targets)
            tasks = [task for task in tasks if task.engine_id in chosen]
        # The last ones first, so that none begins when the one before it is aborted.
        self.engines.abort(reversed(tasks), running)

    # ------------------------------------------------------------ the rest

    def activate(self, targets: Any = "all", suffix: str = "") -> DirectView:
        """Register the magics `%px` of a view with IPython; return the view."""
        from bsbpool.integrations.ipyparallel._magics import activate

        view = self.direct_view(targets, block=True)
        activate(view, suffix)
        return view

    def close(self, linger: float | None = None) -> None:
        """Close the client; the engines stay."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name in REFUSED:
            return lambda *args, **kwargs: refuse(*REFUSED[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def view_of_program(view: DirectView | None) -> DirectView:
    """Return a view of the engines of the innermost cluster, or of the program.

    Parameters
    ----------
    view : DirectView or None
        An earlier one. It is returned if it is of the same engines.
    """
    engines = _program.engines_of_program()
    if view is None or view.client.engines is not engines:
        view = Client(engines=engines).direct_view(block=view is None or view.block)
    return view


class Forgetting:
    """Notes the end of a task.

    Parameters
    ----------
    engines : Engines
        Counts the tasks.
    outstanding : tuple of set
        The sets of tasks that have not ended.
    """

    __slots__ = ("_engines", "_outstanding")

    def __init__(self, engines: Engines, outstanding: tuple[set[str], ...]) -> None:
        self._engines, self._outstanding = engines, outstanding

    def __call__(self, task: Task) -> None:
        """Note the end of a task."""
        for ids in self._outstanding:
            ids.discard(task.msg_id)
        self._engines.forget(task)


class _KnownMetadata(dict[str, Any]):
    """Metadata by id; an unknown id has an empty entry."""

    def __missing__(self, key: str) -> Any:
        self[key] = {}
        return self[key]


def _choose(targets: Any, ids: list[int]) -> list[int]:
    """Return the engines that `targets` names.

    Raises
    ------
    TypeError, IndexError
        When it names none.
    """
    if targets is None or targets == "all":
        return ids
    if isinstance(targets, slice):
        return [ids[index] for index in range(*targets.indices(len(ids)))]
    if isinstance(targets, int):
        return [_choose_one(targets, ids)]
    if isinstance(targets, str) or not isinstance(targets, Iterable):
        raise TypeError(f"targets must be 'all', an int, a slice or a list, got {brief(targets)}")
    return [_choose_one(each, ids) for each in targets]


def _choose_one(target: Any, ids: list[int]) -> int:
    if not isinstance(target, int):
        raise TypeError(f"an engine is named by an int, got {brief(target)}")
    id: int = ids[target] if -len(ids) <= target < 0 else target
    if id not in ids:
        raise IndexError(f"There is no engine {id}; the engines are {ids}")
    return id
