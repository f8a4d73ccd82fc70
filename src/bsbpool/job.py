"""Jobs: handles of what was queued, on the rank that queued it.

A handle holds what the job was made of and, on main, its result (see
`bsbpool._core.jobs.handle`). Its status is the core's; the handle only knows its number there.
"""

from __future__ import annotations

import abc
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bsbpool import arguments, exceptions
from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool._core.jobs.handle import Handle, Kept
from bsbpool.interrupts import is_from_signal
from bsbpool.naming import add_note, brief, call_text, safely, submitter_text, substitute, text_of
from bsbpool.serialization import loads
from bsbpool.status import FINISHED, JobStatus
from bsbpool.submission_context import SubmissionContext as SubmissionContext

if TYPE_CHECKING:
    from bsbpool.pool import JobPool


class Job(Handle, abc.ABC):
    """A unit of work in a pool.

    Subclasses say in `execute` what is done on the worker. They may live in any
    module that the workers can import, or be picklable by value.

    Parameters
    ----------
    pool : JobPool
        The pool that it will be put in.
    submission_context : SubmissionContext
        Who submits it.
    args, kwargs
        What `execute` gets.
    deps : iterable of Job, optional
        Jobs of the same pool that must succeed first.
    cache_items : list, optional
        What the job needs from the cache: ids, cached functions or nodes.
    """

    __slots__ = ()

    # What few jobs have; set on those.
    _cache_items: Any = ()
    _error: BaseException | None = None
    _callbacks: Any = ()

    def __init__(
        self,
        pool: JobPool,
        submission_context: SubmissionContext,
        args: Any,
        kwargs: Any,
        deps: Iterable[Job] | None = None,
        cache_items: Any = None,
    ) -> None:
        self._describe(pool, None, args, kwargs, submission_context)
        self._want(deps, cache_items)

    def _want(self, deps: Iterable[Job] | None, cache_items: Any) -> None:
        self._deps = deps
        if cache_items:
            self._cache_items = arguments.cache_items(cache_items)

    @property
    def label(self) -> str:
        """How messages name the job: ``job 3 'area(2, 3)'``.

        The number is the index of the job in `JobPool.jobs`, from 0; a job that is not in its
        pool yet has none. The text is the call, cut off after 60 characters, with arrays as
        shape and data type. A submitter that is not the function itself comes after the call:
        ``job 3 'place(7) of cortex'``.
        """
        number = "job" if self._id is None else f"job {self._id}"
        return f"{number} '{safely(self._call_text, self, 'label')}'"

    def _call_text(self) -> str:
        args = self._args if isinstance(self._args, (list, tuple)) else (self._args,)
        return call_text(type(self), args, self._kwargs) + submitter_text(self.submitter)

    def __str__(self) -> str:
        return object.__repr__(self).replace("at 0x", f"{self.description} at 0x")

    def __reduce__(self) -> Any:
        raise TypeError(
            "A job cannot be pickled, so it cannot be an argument or a result of a job: wait until "
            "it has ended and pass job.result, or use deps=[job] to run the other job after it."
        )

    @property
    def pool_id(self) -> int:
        """The id that the pool has, or had while it was open."""
        return self._pool._given_id  # type: ignore[no-any-return]

    @property
    def _submit_ctx(self) -> SubmissionContext:
        return self._context  # type: ignore[no-any-return]

    @property
    def _args(self) -> Any:
        return self._arguments

    @property
    def name(self) -> str:
        """The name of the submitter."""
        try:
            return self._submit_ctx.name
        except BaseException as error:
            return substitute(error, self._submit_ctx, "name")

    @property
    def description(self) -> str:
        """The name, with the context where there is one."""
        context = ", ".join(f"{key}={text_of(value)}" for key, value in self.context.items())
        return f"{self.name} ({context})" if context else self.name

    @property
    def submitter(self) -> Any:
        """Who submitted the job."""
        return self._submit_ctx.submitter

    @property
    def context(self) -> dict[str, Any]:
        """What was said about the job when it was queued."""
        return self._submit_ctx.context

    @property
    def status(self) -> JobStatus:
        """The present status."""
        if self._id is None:
            return JobStatus.PENDING
        status: JobStatus = self._pool._engine.status(self._id)
        return status

    _status = status

    @property
    def result(self) -> Any:
        """What the job returned; large arrays as a copy of what is in the received memory.

        Raises
        ------
        JobPoolError
            Before the job succeeded, and after the pool's ``with`` block.
        """
        # Arrays live in the buffers: each reader gets some of its own to write in.
        return self._unpacked(fresh=True)

    def _hand_over(self, results: dict[Job, Any]) -> None:
        """Enter the result, if it can be read; its arrays live in the memory that they came in."""
        with suppress(exceptions.JobPoolError):  # which is the job's error now
            results[self] = self._unpacked(fresh=False)

    def _unpacked(self, fresh: bool) -> Any:
        # After the pool nothing is kept; what a rank did not see it never had. Another thread may
        # leave the pool meanwhile: an outcome taken after a success and still there is the job's.
        kept = self._pool.id is not None and self.status is JobStatus.SUCCESS
        outcome = self._outcome
        if not kept or not self._has_outcome:
            raise exceptions.JobPoolError(
                f"Result of {self.label} is not available: {self._why_no_result()}"
            ) from None
        if not isinstance(outcome, Kept):
            return outcome
        step = "read back from the disk"
        try:
            parts = outcome.parts(fresh)
            step = "unpickled on this rank"
            return loads(*parts)
        except BaseException as error:
            if is_from_signal(error):
                raise
            add_note(error, f"The result of {self.label} cannot be {step}.")
            self._pool._lose_result(self, error)
            raise exceptions.JobPoolError(f"Result of {self.label} cannot be {step}.") from error

    def _why_no_result(self) -> str:
        status = self.status
        if self._pool.id is None:
            return "results exist until the `with` block of the pool ends."
        if self._id is None:
            return "the job is not in its pool; call pool.put(job) first."
        if not self._pool.is_main():
            return "results exist only on rank 0."
        if status in (JobStatus.PENDING, JobStatus.QUEUED):
            return f"the job is {status.name}; call pool.execute() first."
        return f"the job is {status.name}; job.error says why."

    @property
    def error(self) -> BaseException | None:
        """What the job raised, or why it did not run to its end; None otherwise."""
        if self._error is None and self._id is not None:
            self._error = self._why_not()
        return self._error

    def _why_not(self) -> BaseException | None:
        if (status := self.status) is JobStatus.ABORTED:
            return exceptions.JobCancelledError(
                f"The run ended while the job was running{self._pool._limit.reason}."
            )
        if status is not JobStatus.CANCELLED or self._id is None:
            return None
        if self._pool._engine.is_broken(self._id):
            return self._pool._dependency_failures.error(self._deps)  # type: ignore[no-any-return]
        if self._pool._engine.is_cut_off(self._id):
            return exceptions.JobCancelledError(
                f"The run ended before the job could finish{self._pool._limit.reason}."
            )
        return exceptions.JobCancelledError()

    def serialize(self) -> tuple[str, Any, Any]:
        """Return the name of the job's class and what `execute` gets."""
        return type(self).__name__, self._args, self._kwargs

    @staticmethod
    @abc.abstractmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Do the work, on the rank that runs the job."""

    def run(self, timeout: float | None = None) -> bool:
        """Run the job here and now; return whether it still runs, which it does not.

        Parameters
        ----------
        timeout : float, optional
            Accepted for callers of bsb's `run`; the job is run to its end.
        """
        self._pool._run_here(self)
        return False

    def on_completion(self, cb: Callable[[Job], Any]) -> None:
        """Call ``cb(job)`` once the job has ended; now, when it has already."""
        if not callable(cb):
            raise TypeError(f"cb must be a function that takes the job, got {brief(cb)}")
        self._pool._reporter.on_completion(self, cb)

    def set_result(self, value: Any) -> None:
        """End the job with a result."""
        self._pool._end_job(self, JobStatus.SUCCESS, value)

    def set_exception(self, e: BaseException) -> None:
        """End the job with an error."""
        if not isinstance(e, BaseException):
            raise TypeError(f"e must be an exception, got {brief(e)}")
        self._pool._end_job(self, JobStatus.FAILED, e)

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the job.

        A job that has not started will not run. One that runs is CANCELLED at
        once, but its work goes on until it ends, and a warning says so. A job
        that has ended stays what it is, with a warning as well.

        Parameters
        ----------
        reason : str, optional
            The message of the job's error.
        """
        args = () if reason is None else (reason,)
        before = self._pool._cancel(self, exceptions.JobCancelledError(*args))
        if before in FINISHED or before is JobStatus.RUNNING:
            state = "running" if before is JobStatus.RUNNING else "finished"
            message = f"Could not cancel {self.label}, the job is already {state}."
            warnings.warn(message, stacklevel=2)

    def change_status(self, status: JobStatus) -> None:
        """Bring the job to a later status by hand, where the table of statuses allows it.

        Raises
        ------
        JobPoolError
            When the job cannot go there from where it is.
        """
        if not isinstance(status, JobStatus):
            raise TypeError(f"status must be a JobStatus, got {brief(status)}")
        if status is JobStatus.RUNNING:
            self._pool._begin(self)
        elif status is JobStatus.SUCCESS:
            self.set_result(None)
        elif status is JobStatus.CANCELLED:
            self.cancel()
        elif status is not self.status:
            raise exceptions.JobPoolError(
                f"The status of {self.label} cannot be set to {status.name}; allowed are RUNNING, "
                "SUCCESS and CANCELLED, and set_exception() for FAILED"
            )


class FunctionJob(Job):
    """Calls ``f(owner, *args, **kwargs)``."""

    __slots__ = ()

    def __init__(
        self,
        pool: JobPool,
        f: Callable[..., Any],
        args: Any,
        kwargs: Any,
        deps: Iterable[Job] | None = None,
        cache_items: Any = None,
        **context: Any,
    ) -> None:
        arguments.warn_of_context(context)
        self._describe(pool, f, _tuple(args), dict(kwargs or {}) or None, context)
        self._calls = type(self).execute is FunctionJob.execute
        self._want(deps, cache_items)

    @property
    def _submit_ctx(self) -> SubmissionContext:
        # Made when somebody asks: most jobs are never asked.
        context = self._context
        if not isinstance(context, SubmissionContext):
            said = {} if context is None else dict(context)
            context = SubmissionContext(said.pop("submitter", self._function), **said)
            self._context = context
        return context

    @property
    def _args(self) -> Any:
        return self._function, self._arguments

    def _call_text(self) -> str:
        if self._function is None:  # an executor has dropped it
            return type(self).__name__
        submitter = None if self.submitter is self._function else self.submitter
        text = call_text(self._function, self._arguments, self._kwargs)
        return text + submitter_text(submitter)

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


class PlacementJob(Job):
    """Runs a placement strategy of the owner on one chunk."""

    __slots__ = ()

    def __init__(
        self, pool: JobPool, strategy: Any, chunk: Any, deps: Iterable[Job] | None = None
    ) -> None:
        super().__init__(
            pool,
            SubmissionContext(strategy, [chunk]),
            (strategy.name, chunk),
            {},
            deps=deps,
            cache_items=pool._needs.of_node(strategy),
        )

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Place the cells of the chunk."""
        name, chunk = args
        strategy = job_owner.placement[name]
        return strategy.place(chunk, strategy.get_indicators(), **kwargs)


class ConnectivityJob(Job):
    """Runs a connectivity strategy of the owner on two regions of interest."""

    __slots__ = ()

    def __init__(
        self,
        pool: JobPool,
        strategy: Any,
        pre_roi: Iterable[Any] | None,
        post_roi: Iterable[Any] | None,
        deps: Iterable[Job] | None = None,
    ) -> None:
        pre = None if pre_roi is None else list(pre_roi)
        post = None if post_roi is None else list(post_roi)
        chunks = None if pre is None and post is None else [*(pre or ()), *(post or ())]
        super().__init__(
            pool,
            SubmissionContext(strategy, chunks),
            (strategy.name, pre, post),
            {},
            deps=deps,
            cache_items=pool._needs.of_node(strategy),
        )

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Connect the cells of the regions."""
        name, pre, post = args
        strategy = job_owner.connectivity[name]
        # The strategy itself knows how its regions become collections of cells.
        return strategy.connect(*strategy._get_connect_args_from_job(pre, post), **kwargs)
