"""The view of a pool that queues jobs with options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, Unpack

from bsbpool._core.jobs.handle import OptionedFunction
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.naming import brief
from bsbpool.options import JobOptions, OptionValues

T = TypeVar("T")



class OptionedPool(Protocol):
    """The part of a pool that a view with options uses.

    Attributes
    ----------
    default_options : JobOptions or None
        The options of all jobs.
    """

    default_options: JobOptions | None

    def make_job(
        self,
        f: Callable[..., T],
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        deps: Iterable[Job[Any]] | None,
        context: Mapping[str, Any],
    ) -> FunctionJob[T]:
        """Make a job without queueing it."""

    def put(self, job: Any) -> Any:
        """Queue a job."""


class PoolOptions:
    """A view of a pool that queues jobs with options; made by `JobPool.options`.

    Parameters
    ----------
    pool : OptionedPool
        The pool.
    values : JobOptions
        The options.

    Attributes
    ----------
    values : JobOptions
        The options.
    """

    def __init__(self, pool: OptionedPool, values: JobOptions) -> None:
        self._pool = pool
        self.values = values
        self._merged: tuple[JobOptions | None, JobOptions] | None = None

    def __repr__(self) -> str:
        given = [f"{name}={brief(getattr(self.values, name))}" for name in self.values.given]
        return f"<{type(self).__name__} {', '.join(sorted(given))}>"

    def options(self, **options: Unpack[OptionValues]) -> PoolOptions:
        """Return a view with some options replaced; see `JobOptions`."""
        return PoolOptions(self._pool, self.values.updated(options))

    def queue(
        self,
        f: Callable[..., T],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        deps: Iterable[Job[Any]] | None = None,
        **context: Any,
    ) -> FunctionJob[T]:
        """Queue a call of ``f(owner, *args, **kwargs)``; see `JobPool.queue`."""
        job = self._pool.make_job(f, args, kwargs, deps, context)
        job.options = self._options_of(f)
        self._pool.put(job)
        return job

    def _options_of(self, f: Any) -> JobOptions:
        """Return the options of a call: of this view, of the function, of the pool."""
        own = f.options if isinstance(f, OptionedFunction) else None
        if self._merged is None or self._merged[0] is not own:
            self._merged = own, self.values.over(own).over(self._pool.default_options)
        return self._merged[1]

    def submit(self, f: Callable[..., T], /, *args: Any, **kwargs: Any) -> FunctionJob[T]:
        """Queue a call of ``f(owner, *args, **kwargs)``. All keywords are passed to `f`."""
        return self.queue(f, args, kwargs)

    def queue_many(
        self,
        f: Callable[..., T],
        argses: Iterable[Iterable[Any]],
        kwargs: Mapping[str, Any] | None = None,
        deps: Iterable[Job[Any]] | None = None,
        **context: Any,
    ) -> list[FunctionJob[T]]:
        """Queue a call for each element of `argses`; see `JobPool.queue_many`."""
        deps = deps if deps is None else tuple(deps)
        return [self.queue(f, args, kwargs, deps, **context) for args in argses]

    def map(self, f: Callable[..., T], *iterables: Iterable[Any]) -> list[FunctionJob[T]]:
        """Queue a call of ``f(owner, x, y, ...)`` for the items of the iterables, as `map` does."""
        return self.queue_many(f, zip(*iterables, strict=False))
