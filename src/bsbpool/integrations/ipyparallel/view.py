"""What the views of engines have in common: flags, calls, and tasks that are not done."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bsbpool.integrations.ipyparallel._executor import ViewExecutor
from bsbpool.integrations.ipyparallel._history import History
from bsbpool.integrations.ipyparallel._partition import flatten
from bsbpool.integrations.ipyparallel._pickling import Dumper, pack
from bsbpool.integrations.ipyparallel._tracker import Tracker
from bsbpool.integrations.ipyparallel.async_result import AsyncResult
from bsbpool.integrations.ipyparallel.map_result import AsyncMapResult
from bsbpool.integrations.ipyparallel.remote_function import parallel, remote

if TYPE_CHECKING:
    from typing import Self

    from bsbpool.integrations.ipyparallel._roles import TaskClient
    from bsbpool.integrations.ipyparallel._tasks import Task


class View:
    """The base class of views.

    Parameters
    ----------
    client : Client
        The client.
    targets : object
        The engines.
    **flags
        The attributes below, and those of the subclass.

    Attributes
    ----------
    block : bool
        Whether methods wait for results and return them, rather than an `AsyncResult`.
    track : bool
        Whether results know when arguments have been sent.
    label : str or None
        The label of the tasks in their metadata.
    targets : object
        The engines.
    history : list of str
        The ids of the tasks that this view has submitted.
    outstanding : set of str
        Those that have not ended.
    """

    _flags: frozenset[str] = frozenset(["block", "track", "label", "targets"])

    def __init__(self, client: TaskClient, targets: Any, **flags: Any) -> None:
        self.client = client
        self.targets = targets
        self.block = self.track = False
        self.label: str | None = None
        self.history = History()
        self.outstanding: set[str] = set()
        self._dump: Dumper = pack
        self._executor: ViewExecutor | None = None
        self.set_flags(**flags)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.targets}>"

    def __len__(self) -> int:
        if self.targets is None or self.targets == "all":
            return len(self.client.ids)
        return 1 if isinstance(self.targets, int) else len(self.targets)

    # ------------------------------------------------------------ flags

    def set_flags(self, **flags: Any) -> Self:
        """Set attributes; return the view.

        Raises
        ------
        TypeError
            For an unknown flag.
        """
        for name, value in flags.items():
            if name not in self._flags:
                raise TypeError(
                    f"{type(self).__name__} has no flag {name!r}; its flags are "
                    f"{', '.join(sorted(self._flags))}"
                )
            setattr(self, name, value)
        return self

    @contextmanager
    def temp_flags(self, **flags: Any) -> Iterator[None]:
        """Set attributes for the time of a ``with`` block."""
        saved = {name: getattr(self, name) for name in flags if name in self._flags}
        self.set_flags(**flags)
        try:
            yield
        finally:
            self.set_flags(**saved)

    # ------------------------------------------------------------ calls

    _map_tasks: Callable[..., tuple[list[Task], list[int], Tracker | None]]
    """Submits the tasks of a map; returns them, the number of items of each, and a tracker."""

    def _apply(
        self, f: Any, args: tuple[Any, ...], kwargs: dict[str, Any], block: bool
    ) -> AsyncResult:
        raise NotImplementedError

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)``; return the result if `block` is set."""
        return self._finish(self._apply(f, args, kwargs, self.block), self.block)

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call ``f(*args, **kwargs)``; return an `AsyncResult`."""
        return self._apply(f, args, kwargs, False)

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)``; wait for the result and return it."""
        return self._apply(f, args, kwargs, True).get()

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        return_exceptions: bool = False,
        label: str | None = None,
        join: Callable[[list[Any]], Any] = flatten,
        **options: Any,
    ) -> Any:
        """Call a function with each item of sequences.

        A `DirectView` gives one block of items to each engine, a `LoadBalancedView` chunks to
        engines that are free.

        Parameters
        ----------
        f : callable
            The function.
        *sequences : iterable
            Its arguments, in order.
        block : bool, optional
            Whether to wait for the results; by default the flag of the view.
        return_exceptions : bool
            Whether results contain the errors of calls.
        label : str, optional
            A label for the metadata.
        join : callable, optional
            Makes the result of the lists of the tasks' results.
        **options
            Of a `DirectView`: `track`, whether the result knows when the items have been sent. Of a
            `LoadBalancedView`: `chunksize`, the number of items of a task (1), and `ordered`,
            whether iteration gives results in the order of the items, not in that of their ends
            (True).
        """
        if not sequences:
            raise TypeError("map() needs at least one sequence after the function")
        tasks, lengths, tracker = self._map_tasks(f, sequences, return_exceptions, label, **options)
        result = AsyncMapResult(
            self.client,
            tasks,
            getattr(f, "__name__", "call"),
            return_exceptions=return_exceptions,
            tracker=tracker,
            lengths=lengths,
            join=join,
            ordered=options.get("ordered", True),
        ).watch()
        return self._finish(result, self.block if block is None else block)

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncResult:
        """Call a function with each item of sequences; return an `AsyncMapResult`."""
        result: AsyncResult = self.map(f, *sequences, **{**options, "block": False})
        return result

    def map_sync(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Any:
        """Call a function with each item of sequences; wait for the results."""
        return self.map(f, *sequences, **{**options, "block": True})

    def imap(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Iterator[Any]:
        """Return an iterator over the results of `map_async`."""
        return iter(self.map_async(f, *sequences, **options))

    def remote(self, block: bool | None = None, **flags: Any) -> Callable[[Any], Any]:
        """Return a decorator for functions that run on the engines; see `remote`."""
        return remote(self, block=self.block if block is None else block, **flags)

    def parallel(
        self, dist: str = "b", block: bool | None = None, **flags: Any
    ) -> Callable[[Any], Any]:
        """Return a decorator for functions of sequences; see `parallel`."""
        return parallel(self, dist=dist, block=self.block if block is None else block, **flags)

    # ------------------------------------------------------------ tasks

    def _new_task(
        self, function: Callable[..., Any], args: tuple[Any, ...], label: str | None = None
    ) -> Task:
        return self.client.new_task(self, function, args, self.label if label is None else label)

    def _pack(self, obj: Any, dump: Dumper | None = None) -> tuple[tuple[Any, ...], int]:
        """Return the arguments of a function of `_engine`, and the size of their buffers."""
        payload, buffers = (dump or self._dump)(obj)
        size = sum(buffer.nbytes for buffer in buffers)
        return (payload, *map(pickle.PickleBuffer, buffers)), size

    def _tracker(self, tasks: list[Task], size: int, track: bool | None = None) -> Tracker | None:
        tracked = self.track if track is None else track
        return Tracker(tasks, size) if tracked else Tracker((), 0)

    @staticmethod
    def _finish(result: AsyncResult, block: bool | None) -> Any:
        return result.get() if block else result

    @property
    def executor(self) -> ViewExecutor:
        """A `concurrent.futures.Executor` that submits to this view."""
        if self._executor is None:
            self._executor = ViewExecutor(self)
        return self._executor

    # ------------------------------------------------------------ control

    def spin(self) -> None:
        """Do nothing: results arrive without a call."""

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for tasks, by default those of this view that have not ended."""
        return self.client.wait(list(self.outstanding) if jobs is None else jobs, timeout)

    def abort(
        self, jobs: Any = None, targets: Any = None, block: bool | None = None,
        running: bool = False,
    ) -> None:  # fmt: skip
        """Abort tasks that have not begun, by default all of this view.

        Parameters
        ----------
        jobs : str, AsyncResult or list of them, optional
            The tasks.
        targets : object, optional
            The engines; ignored if `jobs` are given.
        block : bool, optional
            Ignored: the tasks are aborted at once.
        running : bool
            Whether to cancel tasks that run, too.
        """
        self.client.abort(list(self.outstanding) if jobs is None else jobs, targets, block, running)

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = False
    ) -> Any:
        """Return the result of tasks; see `Client.get_result`."""
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        if isinstance(indices_or_msg_ids, int):
            indices_or_msg_ids = self.history[indices_or_msg_ids]
        return self.client.get_result(indices_or_msg_ids, block, owner)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> Any:
        """Return the numbers of tasks of engines; see `Client.queue_status`."""
        return self.client.queue_status(self._own(targets), verbose)

    def purge_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Forget results; see `Client.purge_results`."""
        self.client.purge_results(jobs, targets)

    def shutdown(
        self, targets: Any = None, restart: bool = False, hub: bool = False,
        block: bool | None = None,
    ) -> None:  # fmt: skip
        """Retire engines; see `Client.shutdown`."""
        self.client.shutdown(self._own(targets), restart, hub, block)

    def _own(self, targets: Any) -> Any:
        return self.targets if targets is None else targets

    def register_joblib_backend(
        self, name: str = "ipyparallel", make_default: bool = False
    ) -> None:
        """Register a backend of joblib that balances calls over the engines of this view."""
        from bsbpool.integrations.ipyparallel._joblib import register

        register(self._balanced, name, make_default)

    def _balanced(self) -> View:
        """Return the balanced view of the same engines."""
        balanced: View = self.client.load_balanced_view(self.targets)
        return balanced


def as_items(sequences: Iterable[Any]) -> list[Any]:
    """Return iterables as sequences that can be sliced."""
    return [
        items if hasattr(items, "__getitem__") and hasattr(items, "__len__") else list(items)
        for items in sequences
    ]
