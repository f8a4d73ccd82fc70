"""Data on the workers of a pool: calls on each of them, parts of a sequence, and variables.

All of this is queued as jobs: with targets, so it runs during `execute`, and other jobs run after
it if they have these jobs as `deps` or as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bsbpool.broadcasting import Broadcast
from bsbpool.jobs import Job
from bsbpool.naming import brief

pushed: dict[str, Any] = {}
"""The variables that `push` of a pool or an executor has set in this process."""


class TargetedPool(Protocol):
    """The part of a pool that these functions use."""

    @property
    def parallel(self) -> bool:
        """Whether other ranks run the jobs."""

    @property
    def run_context(self) -> Any:
        """What a run uses of the pool."""

    def options(self, **options: Any) -> Any:
        """Return a view that queues jobs with options."""

    def broadcast(self, obj: Any) -> Broadcast[Any]:
        """Return a reference to an object."""


def ranks_of(pool: TargetedPool) -> list[int]:
    """Return the ranks that run the jobs of a pool."""
    return list(pool.run_context.worker_ranks)


def run_on_all(
    pool: Any, f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[int, Job[Any]]:
    """Queue a call on each rank that runs jobs; return the jobs by rank."""
    return {
        # What they do to the memory of the workers does not outlive the run.
        rank: pool.options(targets=[rank], journaled=False).queue(f, args, kwargs)
        for rank in ranks_of(pool)
    }


def scatter(pool: Any, items: Any) -> dict[int, Job[Any]]:
    """Distribute a sequence; return jobs, by rank, whose results are parts of about equal length.

    The parts stay on the workers.

    Raises
    ------
    TypeError
        If `items` cannot be sliced.
    """
    if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
        raise TypeError(f"items must be a sequence or array, got {brief(items)}; use list(items)")
    ranks = ranks_of(pool)
    ends = [len(items) * i // len(ranks) for i in range(len(ranks) + 1)]
    return {
        rank: pool.options(targets=[rank], keep="worker").submit(_same, items[start:end])
        for rank, start, end in zip(ranks, ends, ends[1:], strict=False)
    }


def push(pool: Any, values: Mapping[str, Any]) -> dict[int, Job[None]]:
    """Set variables on each rank that runs jobs."""
    return run_on_all(pool, _set, (pool.broadcast(dict(values)),), {})


def pull(pool: Any, names: Sequence[str]) -> dict[int, Job[dict[str, Any]]]:
    """Return jobs, by rank, that have the variables of the ranks."""
    return run_on_all(pool, _get, tuple(names), {})


def set_variables(values: Mapping[str, Any]) -> None:
    """Set variables in this process."""
    pushed.update(values)


def get_variables(*names: str) -> dict[str, Any]:
    """Return variables of this process.

    Raises
    ------
    NameError
        If one was not pushed.
    """
    missing = [name for name in names if name not in pushed]
    if missing:
        raise NameError(f"{missing[0]!r} was not pushed to this rank; call push() first")
    return {name: pushed[name] for name in names}


def _same(owner: Any, part: Any) -> Any:
    return part


def _set(owner: Any, values: Mapping[str, Any]) -> None:
    set_variables(values)


def _get(owner: Any, *names: str) -> dict[str, Any]:
    return get_variables(*names)
