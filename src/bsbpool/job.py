"""Jobs: the units of work in a pool, and the handles of their results."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from bsbpool import arguments, exceptions
from bsbpool._core.jobs.handle import Handle, StoredResult
from bsbpool._typing import TYPE_CHECKING, Any, Generic, LazyType, Protocol, TypeVar
from bsbpool.naming import add_note, brief, call_text, safely, submitter_text, substitute, text_of
from bsbpool.process import is_from_signal
from bsbpool.status import FINISHED, JobStatus

if TYPE_CHECKING:
    from bsbpool.submission_context import SubmissionContext
else:
    SubmissionContext = LazyType("bsbpool.submission_context", "SubmissionContext")

T = TypeVar("T")


class JobControl(Protocol):
    """The operations of a pool on one of its jobs.

    Attributes
    ----------
    pool_id : int
        The id of the pool, also after its ``with`` block.
    status_of : callable
        Returns the status of the job with a number.
    """

    pool_id: int
    status_of: Callable[[int], JobStatus]

    def start(self, job: Job[Any]) -> None:
        """Set a job to RUNNING."""

    def run(self, job: Job[Any]) -> None:
        """Run a job in this process."""

    def finish(self, job: Job[Any], status: JobStatus, outcome: Any) -> None:
        """End a job with a result, or with an error if `status` is FAILED."""

    def cancel(self, job: Job[Any], error: BaseException) -> JobStatus:
        """Cancel a job that has not ended; return its previous status."""

    def on_completion(self, job: Job[Any], callback: Callable[[Job[Any]], object]) -> None:
        """Call a function when a job has ended."""

    def result_unreadable(self, job: Job[Any], error: BaseException) -> None:
        """Turn SUCCESS into FAILED."""

    def error_of(self, job: Job[Any]) -> BaseException | None:
        """Return why a job without an error of its own did not run to its end."""


class OwningPool(Protocol):
    """The part of a pool that its jobs need."""

    @property
    def job_control(self) -> JobControl:
        """The operations of the pool on its jobs."""

    @property
    def id(self) -> int | None:
        """The id of the pool; None after its ``with`` block."""

    def is_main(self) -> bool:
        """Whether this rank schedules the jobs of the pool."""


class Job(Handle, abc.ABC, Generic[T]):
    """A unit of work in a pool.

    Subclasses define the work in `execute`. Workers must be able to import or unpickle them.

    Parameters
    ----------
    pool : JobPool
        The pool that will run the job.
    submission_context : SubmissionContext
        The submitter of the job, and further information about it.
    args, kwargs : object
        The arguments of `execute`.
    deps : iterable of Job, optional
        Jobs of the same pool that must succeed first.
    cache_items : list, optional
        The cache items that the job needs: ids, cached functions or nodes.
    """

    __slots__ = ()

    # Few jobs have these; they are set on such jobs only. The names without underscore are for the
    # rest of the package.
    _error: BaseException | None = None
    required_items: Sequence[Any] = ()
    completion_callbacks: Sequence[Callable[[Job[Any]], object]] = ()

    def __init__(
        self,
        pool: OwningPool,
        submission_context: SubmissionContext,
        args: Any,
        kwargs: Mapping[str, Any] | None,
        deps: Iterable[Job[Any]] | None = None,
        cache_items: Iterable[Any] | None = None,
    ) -> None:
        self._set_call(pool, None, args, kwargs, submission_context)
        self._set_requirements(deps, cache_items)

    def _set_requirements(
        self, deps: Iterable[Job[Any]] | None, cache_items: Iterable[Any] | None
    ) -> None:
        self._deps = deps
        if cache_items:
            self.required_items = arguments.cache_items(cache_items)

    # ------------------------------------------------------------ description

    @property
    def number(self) -> int | None:
        """The index of the job in `JobPool.jobs`; None while it is not in its pool."""
        return self._id

    @property
    def label(self) -> str:
        """The name of the job in messages: ``job 3 'area(2, 3)'``.

        A job that is not in its pool has no number. The text is the call, cut off after 60
        characters, with arrays as shape and data type. A submitter that is not the function itself
        follows the call: ``job 3 'place(7) of cortex'``.
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
        """The id of the pool, also after its ``with`` block."""
        pool: OwningPool = self._pool
        return pool.job_control.pool_id

    @property
    def name(self) -> str:
        """The name of the submitter."""
        try:
            return self._submit_ctx.name
        except BaseException as error:
            return substitute(error, self._submit_ctx, "name")

    @property
    def description(self) -> str:
        """The name, followed by the context in parentheses if there is one."""
        context = ", ".join(f"{key}={text_of(value)}" for key, value in self.context.items())
        return f"{self.name} ({context})" if context else self.name

    @property
    def submitter(self) -> Any:
        """The object that submitted the job; by default its function."""
        return self._submit_ctx.submitter

    @property
    def context(self) -> dict[str, Any]:
        """The other keywords that the job was queued with."""
        return self._submit_ctx.context

    @property
    def _submit_ctx(self) -> SubmissionContext:
        context: SubmissionContext = self._context
        return context

    @property
    def _args(self) -> Any:
        return self._arguments

    @property
    def execute_arguments(self) -> tuple[Any, Any]:
        """For internal use: the arguments of `execute` after the owner."""
        return self._args, self._kwargs

    @property
    def _cache_items(self) -> Sequence[Any]:
        return self.required_items

    # ------------------------------------------------------------ outcome

    @property
    def status(self) -> JobStatus:
        """The present status."""
        if self._id is None:
            return JobStatus.PENDING
        status: JobStatus = self._pool.job_control.status_of(self._id)
        return status

    _status = status

    @property
    def result(self) -> T:
        """The return value of the job. Each access gives new copies of large arrays.

        Raises
        ------
        JobPoolError
            When the job has not succeeded, and after the ``with`` block of the pool.
        """
        result: T = self._unpacked(copy=True)
        return result

    def add_result_to(self, results: dict[Job[Any], Any]) -> None:
        """For internal use: enter the result into `results`, without copying arrays."""
        with suppress(exceptions.JobPoolError):  # it is recorded as the error of the job
            results[self] = self._unpacked(copy=False)

    def _unpacked(self, copy: bool) -> Any:
        # Another thread may close the pool meanwhile, so the outcome is read after the status.
        available = self._pool.id is not None and self.status is JobStatus.SUCCESS
        outcome = self._outcome
        if not available or not self._has_outcome:
            raise exceptions.JobPoolError(
                f"Result of {self.label} is not available: {self._why_no_result()}"
            ) from None
        if not isinstance(outcome, StoredResult):
            return outcome
        step = "read from the temporary file of max_memory"
        try:
            parts = outcome.load(copy)
            step = "unpickled on this rank"
            from bsbpool.serialization import loads  # not needed where results stay objects

            return loads(*parts)
        except BaseException as error:
            if is_from_signal(error):
                raise
            add_note(error, f"The result of {self.label} cannot be {step}.")
            self._pool.job_control.result_unreadable(self, error)
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
        """The error that the job raised, or the reason why it did not run to its end; else None."""
        if self._error is None and self._id is not None:
            self._error = self._pool.job_control.error_of(self)
        return self._error

    @property
    def has_error(self) -> bool:
        """For internal use: whether an error was recorded, or derived by `error`."""
        return self._error is not None

    def record_error(self, error: BaseException) -> None:
        """For internal use: set the error; the status does not change."""
        self._error = error

    # ------------------------------------------------------------ work

    def serialize(self) -> tuple[str, Any, Any]:
        """Return the name of the job's class and the arguments of `execute`."""
        return type(self).__name__, self._args, self._kwargs

    @staticmethod
    @abc.abstractmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Do the work, on the rank that runs the job."""

    def run(self, timeout: float | None = None) -> bool:
        """Run the job in this process to its end.

        Parameters
        ----------
        timeout : float, optional
            Ignored; accepted for compatibility.

        Returns
        -------
        bool
            Whether the job still runs: always False.
        """
        self._pool.job_control.run(self)
        return False

    def on_completion(self, cb: Callable[[Job[T]], object]) -> None:
        """Call ``cb(job)`` when the job has ended; at once if it has ended already."""
        if not callable(cb):
            raise TypeError(f"cb must be a function that takes the job, got {brief(cb)}")
        self._pool.job_control.on_completion(self, cb)

    def set_result(self, value: T) -> None:
        """End the job with a result."""
        self._pool.job_control.finish(self, JobStatus.SUCCESS, value)

    def set_exception(self, e: BaseException) -> None:
        """End the job with an error."""
        if not isinstance(e, BaseException):
            raise TypeError(f"e must be an exception, got {brief(e)}")
        self._pool.job_control.finish(self, JobStatus.FAILED, e)

    def cancel(self, reason: str | None = None) -> None:
        """Cancel the job.

        A job that has not started will not run. A running job becomes CANCELLED at once, but its
        function runs to its end. The status of a job that has ended does not change.

        Parameters
        ----------
        reason : str, optional
            The message of the job's error.

        Warns
        -----
        UserWarning
            When the job is running or has ended.
        """
        error = exceptions.JobCancelledError(*(() if reason is None else (reason,)))
        before: JobStatus = self._pool.job_control.cancel(self, error)
        if before in FINISHED or before is JobStatus.RUNNING:
            state = "running" if before is JobStatus.RUNNING else "finished"
            message = f"Could not cancel {self.label}, the job is already {state}."
            warnings.warn(message, stacklevel=2)

    def change_status(self, status: JobStatus) -> None:
        """Set the status to RUNNING, SUCCESS or CANCELLED.

        Raises
        ------
        JobPoolError
            When the job cannot change from its present status to this one.
        """
        if not isinstance(status, JobStatus):
            raise TypeError(f"status must be a JobStatus, got {brief(status)}")
        if status is JobStatus.RUNNING:
            self._pool.job_control.start(self)
        elif status is JobStatus.SUCCESS:
            self._pool.job_control.finish(self, status, None)
        elif status is JobStatus.CANCELLED:
            self.cancel()
        elif status is not self.status:
            raise exceptions.JobPoolError(
                f"The status of {self.label} cannot be set to {status.name}; allowed are RUNNING, "
                "SUCCESS and CANCELLED, and set_exception() for FAILED"
            )
