"""The errors of bsbpool.

An integration may replace classes of this module by classes of another package, so the pool uses
them as attributes of the module (``exceptions.JobPoolError``).
"""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence

from bsbpool._typing import Any


class DependencyError(Exception):
    """A required package is not installed."""


class JobPoolError(Exception):
    """A job pool cannot do what was requested."""


class JobCancelledError(JobPoolError):
    """The job was cancelled: by a call of `cancel`, a failed dependency or the end of its run."""


class JobPoolContextError(JobPoolError):
    """A job pool was used outside of its ``with`` block."""


class JobPoolTimeoutError(JobPoolError, TimeoutError):
    """A run took longer than the timeout that `JobPool.execute` was given.

    Its ``__cause__`` is a `WorkflowError` if jobs had failed before.

    Parameters
    ----------
    message : str
        The number of jobs in each status.
    results : dict of Job to object, optional
        The results of the jobs that had succeeded; None without `return_results`.
    """

    def __init__(self, message: str, results: dict[Any, Any] | None = None) -> None:
        super().__init__(message)
        self.results = results

    def __reduce__(self) -> tuple[Any, ...]:
        """Drop the results: their jobs exist on this rank only."""
        return type(self), self.args


class JournalError(JobPoolError):
    """A journal is in use, damaged, or cannot be written."""


class UnmetDependency(JobPoolError):
    """A check of the option `requires` found that a rank cannot run a job."""


class JobTimeoutError(JobPoolError, TimeoutError):
    """A job took longer than its option `timeout`."""


class JobSchedulingError(JobPoolError):
    """A node could not schedule its jobs."""


class WorkerLostError(JobPoolError):
    """A rank died while it took part in a pool.

    Attributes
    ----------
    rank : int
        The rank in the pool's communicator; -1 if several ranks died.
    job : Job or None
        The job that the rank was running.
    signal : int
        The number of the signal that ended the process; 0 if it is not known.
    """

    def __init__(self, message: str, rank: int = -1, job: Any = None, signal: int = 0) -> None:
        super().__init__(message)
        self.rank, self.job, self.signal = rank, job, signal

    def __reduce__(self) -> tuple[Any, ...]:
        """Drop the job, which exists on this rank only."""
        return type(self), (self.args[0], self.rank, None, self.signal)

    @classmethod
    def while_running(cls, job: Any, rank: int, signal: int) -> WorkerLostError:
        """Return the error of a job whose rank died."""
        of = f" of {signals.Signals(signal).name}" if signal else ""
        return cls(f"rank {rank} died{of} while it ran {job.label}", rank, job, signal)


class DataLostError(JobPoolError):
    """A result that a job has as an argument does not exist any more.

    It was only on a rank that has died, or it was kept with ``keep="worker"`` and dropped after the
    last job that was queued with it.
    """


class JobErroredError(Exception):
    """A job failed.

    Parameters
    ----------
    message : str
        The label of the job, and that it failed.
    error : BaseException
        The error that the job raised.
    """

    def __init__(self, message: str, error: BaseException | None = None) -> None:
        super().__init__(message)
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep `error` when the exception is pickled."""
        return type(self), (self.args[0], self.error)


class WorkflowError(ExceptionGroup):
    """Jobs failed, or could not be scheduled; one error for each."""

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Keep the type when the group is split."""
        return WorkflowError(self.message, excs)


class WorkerTraceback(Exception):
    """The traceback of an error on a worker; the ``__cause__`` of the error on the main rank.

    The traceback is a note, since Python before 3.13 indents notes in an exception group, but not
    messages of several lines.

    Attributes
    ----------
    rank : int
        The rank that ran the job.
    job : str
        The label of the job, see `Job.label`; in a `map` of an executor the name of the function.
    text : str
        The traceback as the worker would have printed it.
    """

    def __init__(self, rank: int, job: str, text: str) -> None:
        super().__init__(rank, job, text)
        self.rank, self.job, self.text = rank, job, text
        self.add_note(text.rstrip())

    def __str__(self) -> str:
        return f"on rank {self.rank}, in {self.job}"


def interrupt_classes() -> tuple[type[BaseException], ...]:
    """Return the errors that are raised in interrupted jobs, by `InterruptKind`."""
    return BaseException, JobCancelledError, JobTimeoutError, JobCancelledError


class RemoteError(Exception):
    """Replaces an error of a worker that could not be sent to the main rank."""
