"""Sets of dependencies, shared where jobs share them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool.job import Job

if TYPE_CHECKING:
    from bsbpool.pool import JobPool

SMALLEST_SHARED = 4
"""Smaller sets are not worth a join."""
REMEMBERED = 256
"""How many sets are compared with a new one."""


class DependencySets:
    """Turns the dependencies of new jobs into ids and joins of a pool's core."""

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool
        self._joins: OrderedDict[frozenset[int], int] = OrderedDict()
        self._last: tuple[Any, int] | None = None

    def of(self, deps: Iterable[Job] | None) -> tuple[Collection[int], int]:
        """Return the ids to depend on, and the join to depend on instead (or -1).

        Raises
        ------
        TypeError
            When `deps` is not an iterable of jobs.
        JobPoolError
            When one of them is not in this pool.
        """
        if deps is None:
            return (), -1
        if self._last is not None and deps is self._last[0]:
            return (), self._last[1]
        ids = self._ids(deps)
        if len(ids) < SMALLEST_SHARED:
            return ids, -1
        join = self._join(frozenset(ids))
        # Only what cannot change may be recognised by its identity.
        self._last = (deps, join) if isinstance(deps, tuple | frozenset) else None
        return (), join

    def _ids(self, deps: Iterable[Job]) -> set[int]:
        if isinstance(deps, Job) or not isinstance(deps, Iterable):
            raise TypeError(f"deps: {deps!r} is no list of jobs; for a single one give [job]")
        ids = set()
        for job in deps:
            if not isinstance(job, Job):
                raise TypeError(f"deps: {job!r} is not a job; give what `queue` returned")
            if job._pool is not self._pool or job._id is None:
                raise exceptions.JobPoolError(
                    f"deps: {job} is not a job of this pool, so it would never be waited for; "
                    "queue it here, or execute its own pool before"
                )
            ids.add(job._id)
        return ids

    def _join(self, ids: frozenset[int]) -> int:
        join = self._joins.get(ids)
        if join is None:
            join = self._joins[ids] = self._pool._engine.join(ids)
            if len(self._joins) > REMEMBERED:
                self._joins.popitem(last=False)
        return join
