"""The results of tasks that have not ended yet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
)
from concurrent.futures import wait as wait_for_futures
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bsbpool.futures.future import PoolFuture
from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel._metadata import KEYS, ExecuteReply, ExecutionCount, Metadata
from bsbpool.integrations.ipyparallel._progress import show_progress
from bsbpool.integrations.ipyparallel._result_state import ResultState, seconds_of
from bsbpool.integrations.ipyparallel._show import display_outputs

if TYPE_CHECKING:
    from bsbpool.integrations.ipyparallel._roles import EnginesUser
    from bsbpool.integrations.ipyparallel._tasks import Task
    from bsbpool.integrations.ipyparallel._tracker import Tracker

_count_lock = threading.Lock()
"""Guards the number of unfinished tasks of all results; only held for a moment."""


class AsyncResult(ResultState, PoolFuture[Any]):
    """The result of one or more tasks; also a `concurrent.futures.Future`.

    Parameters
    ----------
    client : Client
        The client that has submitted the tasks.
    tasks : sequence of Task
        The tasks.
    fname : str
        The name of the function.
    single_result : bool
        Whether the result is that of the only task, not a list.
    return_exceptions : bool
        Whether `get` returns errors in place of results.
    tracker : Tracker, optional
        Tells when the arguments have been sent.

    Attributes
    ----------
    msg_ids : list of str
        The ids of the tasks.
    """

    _parts_are_single = True
    """Whether `split` returns results that are not lists."""

    def __init__(
        self,
        client: EnginesUser,
        tasks: Sequence[Task],
        fname: str = "unknown",
        single_result: bool = False,
        return_exceptions: bool = False,
        tracker: Tracker | None = None,
    ) -> None:
        super().__init__(client.engines)
        self._client, self._tasks, self._fname = client, tuple(tasks), fname
        self._single_result, self._return_exceptions = single_result, return_exceptions
        self._tracker = tracker
        self._children: tuple[AsyncResult, ...] | None = None
        self._n_left = len(self._tasks)
        if not self._tasks:
            self._settle()

    def watch(self) -> AsyncResult:
        """For internal use: take the ends of the tasks from now on; return this result."""
        for task in self._tasks:
            task.call_at_end(self._task_done)
        return self

    def _task_done(self, task: Task) -> None:
        with _count_lock:
            self._n_left -= 1
            last = self._n_left == 0
        if last:
            self._settle()

    def _settle(self) -> None:
        failed = self._failure()
        failed = None if failed is None else error.copy_of(failed)
        self.settle(failed, None if failed is not None else self._value())

    # ------------------------------------------------------------ results

    @property
    def msg_ids(self) -> list[str]:
        """The ids of the tasks."""
        return [task.msg_id for task in self._tasks]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """For internal use: the tasks."""
        return self._tasks

    def __repr__(self) -> str:
        if not self.done():
            return f"<{type(self).__name__}: {self._fname}>"
        state = "finished" if self._failure() is None else "failed"
        return f"<{type(self).__name__}({self._fname}): {state}>"

    def _value_of(self, task: Task) -> Any:
        if task.error is not None:
            return task.error
        if isinstance(task.value, ExecutionCount):
            return ExecuteReply(task.metadata(), task.value)
        return task.value

    def _value(self) -> Any:
        values = [self._value_of(task) for task in self._tasks]
        return values[0] if self._single_result else self._joined(values)

    def _joined(self, values: list[Any]) -> Any:
        return values

    def _failure(self) -> error.RemoteError | None:
        failed = [task.error for task in self._tasks if task.error is not None]
        if not failed:
            return None
        if self._single_result or (len(failed) == 1 and isinstance(failed[0], error.TaskAborted)):
            return failed[0]
        if all(isinstance(each, error.TaskAborted) for each in failed):
            return failed[0]
        return error.CompositeError(f"{len(failed)} errors in calls of {self._fname}", failed)

    def get(
        self,
        timeout: float | None = None,
        return_exceptions: bool | None = None,
        return_when: str | None = None,
    ) -> Any:
        """Wait for the tasks and return the result.

        Parameters
        ----------
        timeout : float, optional
            The longest wait in seconds; None or a negative number for no limit.
        return_exceptions : bool, optional
            Whether to return errors in place of results.
        return_when : str, optional
            With FIRST_EXCEPTION the first error is raised while other tasks still run.

        Raises
        ------
        TimeoutError
            If the tasks have not ended in time.
        RemoteError
            The error of the only task.
        CompositeError
            The errors of several tasks.
        """
        if return_exceptions is None:
            return_exceptions = self._return_exceptions
        if return_when == FIRST_EXCEPTION and not self.done():
            self._raise_first(timeout)
        elif not self.done() and not self.wait(timeout):
            raise TimeoutError("Result not ready.")
        if self.cancelled():
            raise error.TaskAborted("The task was aborted")
        failed = self._failure()
        if failed is None:
            return self.result()
        if return_exceptions:
            return self._value()
        raise error.copy_of(failed)

    def _raise_first(self, timeout: float | None) -> None:
        done, pending = self.wait(timeout, FIRST_EXCEPTION)
        for child in done:
            child.get(0)
        if pending:
            raise TimeoutError("Result not ready.")

    @property
    def r(self) -> Any:
        """The result, as `get`."""
        return self.get()

    result_dict = property(lambda self: self.get_dict())

    def get_dict(self, timeout: float | None = None) -> dict[int, Any]:
        """Return the results by engine.

        Raises
        ------
        ValueError
            If an engine has run more than one of the tasks.
        """
        results = self.get(timeout)
        engines = [task.engine_id for task in self._tasks]
        if len(set(engines)) < len(engines):
            raise ValueError("Cannot build a dictionary: an engine has run several of the tasks")
        values = [results] if self._single_result else [self._value_of(t) for t in self._tasks]
        return {id: value for id, value in zip(engines, values, strict=True) if id is not None}

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()

    # ------------------------------------------------------------ waiting

    def ready(self) -> bool:
        """Return whether all tasks have ended."""
        return self.done()

    def successful(self) -> bool:
        """Return whether all tasks have succeeded.

        Raises
        ------
        ValueError
            If they have not ended.
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not ready; call wait() first")
        return self._failure() is None

    def wait(self, timeout: float | None = -1, return_when: str | None = None) -> Any:
        """Wait for the tasks.

        Parameters
        ----------
        timeout : float, optional
            The longest wait in seconds; None or a negative number for no limit.
        return_when : str, optional
            FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.

        Returns
        -------
        bool or tuple
            Whether all tasks have ended. With `return_when`, the results of single tasks in two
            sets: those that have ended, and others.
        """
        seconds = seconds_of(timeout)
        if return_when is None:
            if not self.done():
                with suppress(TimeoutError, CancelledError):
                    self.exception(seconds)  # waits with less overhead than `wait_for_futures`
            return self.done()
        if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED):
            raise ValueError(
                "return_when must be FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED, got "
                f"{return_when!r}"
            )
        return wait_for_futures(self.split(), seconds, return_when)

    def wait_for_output(self, timeout: float | None = -1) -> bool:
        """Wait until all output of the tasks is here, which is when they have ended."""
        ended: bool = self.wait(timeout)
        return ended

    def wait_interactive(
        self,
        interval: float = 0.1,
        timeout: float | None = -1,
        widget: Any = None,
        return_when: str = ALL_COMPLETED,
    ) -> None:
        """Wait for the tasks and show the progress meanwhile.

        Parameters
        ----------
        interval : float
            Seconds between two updates.
        timeout : float, optional
            As for `wait`.
        widget : object, optional
            Ignored: notebooks show a widget anyway.
        return_when : str
            FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED.
        """
        show_progress(self, interval, seconds_of(timeout), return_when)

    def split(self) -> tuple[AsyncResult, ...]:
        """Return a result for each task."""
        if len(self._tasks) == 1:
            return (self,)
        if self._children is None:
            self._children = tuple(
                AsyncResult(self._client, [task], self._fname, self._parts_are_single).watch()
                for task in self._tasks
            )
        return self._children

    @classmethod
    def join(cls, *results: AsyncResult) -> AsyncResult:
        """Return one result for the tasks of several.

        Raises
        ------
        ValueError
            Without results.
        """
        if not results:
            raise ValueError("join() needs at least one AsyncResult")
        tasks = [task for each in results for task in each.tasks]
        first = results[0]
        return AsyncResult(first._client, tasks, first._fname).watch()

    def abort(self, running: bool = False) -> None:
        """Abort the tasks that have not begun.

        Parameters
        ----------
        running : bool
            Whether to cancel the tasks that run, too.
        """
        if not self.ready():
            self._client.engines.abort(self._tasks, running)

    def cancel(self, running: bool = False) -> bool:
        """Abort the tasks; with `running` also those that run. Return whether all are aborted."""
        self.abort(running)
        return self.done() and self._is_aborted()

    def _is_aborted(self) -> bool:
        return all(task.aborted for task in self._tasks)

    # ------------------------------------------------------------ metadata

    @property
    def metadata(self) -> Any:
        """The metadata of the only task, or a list of those of all."""
        found = [task.metadata() for task in self._tasks]
        return found[0] if self._single_result else found

    def _item(self, key: str) -> Any:
        found = [task.metadata()[key] for task in self._tasks]
        return found[0] if self._single_result else found

    def __getattr__(self, name: str) -> Any:
        if name in KEYS and "_tasks" in self.__dict__:
            return self._item(name)
        return super().__getattr__(name)

    def __dir__(self) -> Iterable[str]:
        return sorted({*super().__dir__(), *KEYS})

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            if key not in KEYS:
                raise KeyError(key)
            return self._item(key)
        if isinstance(key, slice):
            return self._part(range(*key.indices(len(self))))
        return self._part([range(len(self))[key]])[0]

    def _part(self, indices: Iterable[int]) -> list[Any]:
        """Return some results; wait for them."""
        results = [self.get()] if self._single_result else self.get()
        return [results[index] for index in indices]

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Any]:
        if self._single_result:
            raise TypeError("AsyncResults with a single result are not iterable; use get()")
        for child in self.split():
            yield child.get(None, self._return_exceptions)

    # ------------------------------------------------------------ output

    def display_outputs(self, groupby: str = "type", result_only: bool = False) -> None:
        """Show what the tasks have written and displayed.

        Parameters
        ----------
        groupby : {"type", "engine", "order"}
            How the output of several tasks is grouped.
        result_only : bool
            Whether to show only the values of the last expressions.
        """
        self.wait_for_output()
        found: list[Metadata] = [task.metadata() for task in self._tasks]
        display_outputs(found, self._single_result, groupby, result_only)


class AsyncHubResult(AsyncResult):
    """The result of tasks that another client has submitted, or that were asked for by id."""
