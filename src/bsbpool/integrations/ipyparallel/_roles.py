"""What results, executors and functions need of views and clients, which import them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bsbpool.integrations.ipyparallel._engines import Engines
from bsbpool.integrations.ipyparallel._scheduler import Scheduler
from bsbpool.integrations.ipyparallel._tasks import Task


class EnginesUser(Protocol):
    """The part of a client that results use."""

    engines: Engines


class TaskClient(EnginesUser, Protocol):
    """The part of a client that views use."""

    scheduler: Scheduler

    @property
    def ids(self) -> list[int]:
        """The engines that are alive."""

    def engines_of(self, targets: Any) -> list[int]:
        """Return the numbers of engines."""

    def new_task(
        self, view: Any, function: Any, args: tuple[Any, ...], label: str | None
    ) -> Task:
        """Make a task of a view and note its id."""

    def load_balanced_view(self, targets: Any = None) -> Any:
        """Return a view that runs each call on one of some engines."""

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for tasks."""

    def abort(
        self, jobs: Any = None, targets: Any = None, block: bool | None = None,
        running: bool = False,
    ) -> None:  # fmt: skip
        """Abort tasks."""

    def get_result(self, indices_or_msg_ids: Any, block: bool | None, owner: bool) -> Any:
        """Return the result of tasks."""

    def queue_status(self, targets: Any, verbose: bool) -> Any:
        """Return the tasks of engines."""

    def purge_results(self, jobs: Any, targets: Any) -> None:
        """Forget results."""

    def shutdown(self, targets: Any, restart: bool, hub: bool, block: bool | None) -> None:
        """Retire engines."""

    def clear(self, targets: Any, block: bool | None) -> Any:
        """Empty the namespaces of engines."""


class CallingView(Protocol):
    """The part of a view that executors and remote functions use."""

    block: bool

    def __len__(self) -> int: ...

    def temp_flags(self, **flags: Any) -> AbstractContextManager[None]:
        """Set attributes for the time of a ``with`` block."""

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function."""

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function; return an `AsyncResult`."""

    def map(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Any:
        """Call a function with each item of sequences."""

    def imap(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Iterator[Any]:
        """Return an iterator over results."""

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for tasks."""

    def abort(self) -> None:
        """Abort tasks that have not begun."""
