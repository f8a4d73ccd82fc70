"""Jobs that call a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bsbpool import arguments
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool._typing import TYPE_CHECKING, Any, LazyType, TypeVar
from bsbpool.jobs import Job
from bsbpool.naming import call_text, submitter_text

if TYPE_CHECKING:
    from bsbpool.owning_pool import OwningPool
    from bsbpool.submission_context import SubmissionContext
else:
    OwningPool = LazyType("bsbpool.owning_pool", "OwningPool")
    SubmissionContext = LazyType("bsbpool.submission_context", "SubmissionContext")

T = TypeVar("T")


class FunctionJob(Job[T]):
    """A call of ``f(owner, *args, **kwargs)``.

    Parameters
    ----------
    pool : JobPool
        The pool that will run the job.
    f : callable
        The function.
    args : iterable, optional
        Positional arguments after the owner.
    kwargs : mapping, optional
        Keyword arguments.
    deps, cache_items
        As of `Job`.
    **context
        The `submitter`, and any further information about the job.
    """

    __slots__ = ()

    def __init__(
        self,
        pool: OwningPool,
        f: Callable[..., T],
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        deps: Iterable[Job[Any]] | None = None,
        cache_items: Iterable[Any] | None = None,
        **context: Any,
    ) -> None:
        arguments.warn_of_context(context)
        self._set_call(pool, f, _tuple(args), dict(kwargs or {}) or None, context)
        self._calls_function = type(self).execute is FunctionJob.execute
        self._set_requirements(deps, cache_items)

    @property
    def _submit_ctx(self) -> SubmissionContext:
        # Made on first use: most jobs never need it.
        context = self._context
        if context is None or isinstance(context, dict):
            keywords = dict(context or {})
            submitter = keywords.pop("submitter", self._function)
            self._context = context = self._make_context(submitter, keywords)
        made: SubmissionContext = context
        return made

    def _make_context(self, submitter: Any, keywords: dict[str, Any]) -> SubmissionContext:
        from bsbpool.submission_context import SubmissionContext

        return SubmissionContext(submitter, **keywords)

    @property
    def _args(self) -> Any:
        return self._function, self._arguments

    def _call_text(self) -> str:
        if self._function is None:  # an executor has released it
            return type(self).__name__
        return call_text(self._function, self._arguments, self._kwargs)

    def _submitter_text(self) -> str:
        submitter = self.submitter
        return "" if submitter is self._function else submitter_text(submitter)

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Call the function."""
        f, f_args = args
        if job_owner is NO_OWNER:
            return f(*f_args, **kwargs)
        return f(job_owner, *f_args, **kwargs)


def _tuple(args: Iterable[Any] | None) -> tuple[Any, ...]:
    if args is None:
        return ()
    if isinstance(args, (str, bytes)) or not hasattr(args, "__iter__"):
        arguments.refuse("args", args)
    return tuple(args)
