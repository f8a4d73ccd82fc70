"""The results of maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import wait as wait_for_futures
from typing import Any

from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel.async_result import AsyncResult


class AsyncMapResult(AsyncResult):
    """The results of a map, in the order of its items.

    Parameters
    ----------
    *args : object
        Those of `AsyncResult`.
    lengths : sequence of int
        The number of items of each task.
    join : callable
        Returns the result for a list of the results of the tasks.
    ordered : bool
        Whether iteration gives results in the order of the items, not in that of their ends.
    """

    _parts_are_single = False

    def __init__(
        self,
        *args: Any,
        lengths: Sequence[int],
        join: Callable[[list[Any]], Any],
        ordered: bool = True,
        **kwargs: Any,
    ) -> None:
        self._lengths, self._join, self._ordered = tuple(lengths), join, ordered
        super().__init__(*args, **kwargs)

    def _joined(self, values: list[Any]) -> Any:
        parts = [
            [value] * n if isinstance(value, error.RemoteError) else value
            for value, n in zip(values, self._lengths, strict=True)
        ]
        return self._join(parts)

    def __len__(self) -> int:
        return sum(self._lengths)

    @property
    def progress(self) -> int:
        """The number of items that are done."""
        done = zip(self._tasks, self._lengths, strict=True)
        return sum(n for task, n in done if task.done)

    def __iter__(self) -> Iterator[Any]:
        children = dict(zip(self.split(), self._lengths, strict=True))
        if len(self._tasks) == 1:
            yield from self.get(None, self._return_exceptions)
            return
        pending = set(children)
        for child in children if self._ordered else _as_ended(pending):
            child.wait()
            (task,) = child.tasks
            if task.error is not None and not self._return_exceptions:
                raise task.error
            yield from task.value if task.error is None else [task.error] * children[child]


def _as_ended(pending: set[Any]) -> Iterator[Any]:
    while pending:
        done, pending = wait_for_futures(pending, None, FIRST_COMPLETED)
        yield from done
