"""Jobs: the units of work in a pool, and the handles of their results."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress

from bsbpool import arguments, exceptions, naming
from bsbpool._core.jobs.handle import Handle, RemoteResult, StoredResult
from bsbpool._typing import TYPE_CHECKING, Any, Generic, LazyType, TypeVar
from bsbpool.process import is_from_signal
from bsbpool.status import FINISHED, JobStatus

if TYPE_CHECKING:
    from bsbpool.job_output import JobOutput
    from bsbpool.metadata import JobMetadata
    from bsbpool.options import JobOptions
    from bsbpool.owning_pool import OwningPool
    from bsbpool.submission_context import SubmissionContext
else:
    OwningPool = LazyType("bsbpool.owning_pool", "OwningPool")
    JobMetadata = LazyType("bsbpool.metadata", "JobMetadata")
    JobOptions = LazyType("bsbpool.options", "JobOptions")
    JobOutput = LazyType("bsbpool.job_output", "JobOutput")
    SubmissionContext = LazyType("bsbpool.submission_context", "SubmissionContext")

T = TypeVar("T")


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

    # Few jobs have these. `output` and `attempts` (see `retries`) are public.
    _error: BaseException | None = None
    options: JobOptions | None = None
    output: JobOutput | None = None
    attempts: Sequence[Any] = ()
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

    def add_dependencies(self, jobs: Iterable[Handle]) -> None:
        """For internal use: add dependencies before the job is queued."""
        self._deps = (*(self._deps or ()), *jobs)

    # ------------------------------------------------------------ description

    @property
    def number(self) -> int | None:
        """The index of the job in `JobPool.jobs`; None while it is not in its pool."""
        return self._id

    @property
    def label(self) -> str:
        """The text of the job in messages: ``job 3 'area(2, 3)'``.

        A job outside of its pool has no number. The text has the option `name`, or the call with
        the arguments that fit into 60 characters. Another submitter than the function follows:
        ``job 3 'place(7)' of node 'cortex'``.
        """
        given = None if self.options is None else self.options.name
        call = naming.safely(self._call_text, self, "label") if given is None else given
        return naming.job_text(self._id, call, naming.safely(self._submitter_text, self, "label"))

    def _call_text(self) -> str:
        args = self._args if isinstance(self._args, (list, tuple)) else (self._args,)
        return naming.call_text(type(self), args, self._kwargs)

    def _submitter_text(self) -> str:
        return naming.submitter_text(self.submitter)

    def __str__(self) -> str:
        return object.__repr__(self).replace("at 0x", f"{self.description} at 0x")

    def __reduce__(self) -> Any:
        from bsbpool.dataflow import reduce_job

        return reduce_job(self, self._outcome)

    @property
    def pool_id(self) -> int:
        """The id of the pool, also after its ``with`` block."""
        pool: OwningPool = self._pool
        return pool.job_control.pool_id

    @property
    def name(self) -> str:
        """The option `name`, or the name of the submitter."""
        if self.options is not None and self.options.name is not None:
            return self.options.name
        try:
            return self._submit_ctx.name
        except BaseException as error:
            return naming.substitute(error, self._submit_ctx, "name")

    @property
    def description(self) -> str:
        """The name, followed by the context in parentheses if there is one."""
        context = ", ".join(f"{key}={naming.text_of(value)}" for key, value in self.context.items())
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
        return self.required_items or ()

    # ------------------------------------------------------------ outcome

    @property
    def status(self) -> JobStatus:
        """The present status."""
        if self._id is None:
            return JobStatus.PENDING
        status: JobStatus = self._pool.job_control.status_of(self._id)
        return status

    _status = status

    journal = property(lambda self: self._pool.run_context.journal)  # for internal use

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
        if not available or not self._has_outcome or isinstance(outcome, RemoteResult):
            from bsbpool.waiting import why_no_result

            raise exceptions.JobPoolError(
                f"Result of {self.label} is not available: {why_no_result(self, self._pool)}"
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
            naming.add_note(error, f"The result of {self.label} cannot be {step}.")
            self._pool.job_control.result_unreadable(self, error)
            raise exceptions.JobPoolError(f"Result of {self.label} cannot be {step}.") from error

    def ready(self) -> bool:
        """Return whether the job has ended."""
        return self.status in FINISHED

    def successful(self) -> bool:
        """Return whether the job has succeeded."""
        return self.status is JobStatus.SUCCESS

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job has ended; return whether it has.

        Other threads than the one that executes the pool can wait, such as schedulers.

        Parameters
        ----------
        timeout : float, optional
            The longest wait, in seconds.

        Raises
        ------
        JobPoolError
            If the wait would not end, for example in the thread that executes the pool.
        """
        from bsbpool.waiting import wait

        return wait([self], timeout)

    def check_waiting(self, timeout: float | None) -> None:
        """For internal use: raise JobPoolError if a wait of this thread could not end."""
        self._pool.job_control.check_waiting(timeout)

    def get(self, timeout: float | None = None) -> T:
        """Wait until the job has ended and return its result, or raise its error.

        Parameters
        ----------
        timeout : float, optional
            The longest wait, in seconds.

        Raises
        ------
        TimeoutError
            If the job has not ended in time.
        JobPoolError
            As `wait`.
        BaseException
            The error of the job.
        """
        from bsbpool.waiting import value_of

        value: T = value_of(self, timeout)
        return value

    def __await__(self) -> Generator[Any, None, T]:
        from bsbpool.waiting import completion

        return completion(self).__await__()

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

    @property
    def metadata(self) -> JobMetadata:
        """When and where the job ran, on the main rank; see `bsbpool.metadata.JobMetadata`."""
        metadata: JobMetadata = self._pool.job_control.metadata_of(self)
        return metadata

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
            raise TypeError(f"cb must be a function that takes the job, got {naming.brief(cb)}")
        self._pool.job_control.on_completion(self, cb)

    def set_result(self, value: T) -> None:
        """End the job with a result."""
        self._pool.job_control.finish(self, JobStatus.SUCCESS, value)

    def set_exception(self, e: BaseException) -> None:
        """End the job with an error."""
        if not isinstance(e, BaseException):
            raise TypeError(f"e must be an exception, got {naming.brief(e)}")
        self._pool.job_control.finish(self, JobStatus.FAILED, e)

    def cancel(self, reason: str | None = None, running: bool = False) -> None:
        """Cancel the job.

        A job that has not started will not run. A running job becomes CANCELLED at once; its
        function runs to its end, unless `running` is True. Ended jobs do not change.

        Parameters
        ----------
        reason : str, optional
            The message of the job's error.
        running : bool
            Whether to raise a JobCancelledError in a running job, at its next bytecode; where MPI
            does not support threads, only if the job reads `current_job().cancelled`.

        Warns
        -----
        UserWarning
            When the job has ended, or when it is running and `running` is False.

        Examples
        --------
        >>> import bsbpool, threading, time
        >>> with bsbpool.create_job_pool(quiet=True) as pool:
        ...     job = pool.submit(lambda owner: time.sleep(60))
        ...     threading.Timer(0.1, job.cancel, ("not needed", True)).start()
        ...     pool.execute()
        >>> job.error
        JobCancelledError('not needed')
        """
        running = arguments.flag("running", running)
        if state := self._pool.job_control.cancel(self, reason, running):
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
            raise TypeError(f"status must be a JobStatus, got {naming.brief(status)}")
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
