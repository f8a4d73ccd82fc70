"""The errors of bsbpool.

`bsbpool.integrations.bsb.install` puts the classes that bsb-core defines in the
place of those of the same name here. That is why the pool raises them by
attribute (``exceptions.JobPoolError``).
"""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence
from typing import Any


class DependencyError(Exception):
    """A package that is needed here is not installed."""


class JobPoolError(Exception):
    """A job pool cannot do what was asked of it."""


class JobCancelledError(JobPoolError):
    """The job was cancelled: by hand, by a failed dependency or by the end of its run."""


class JobPoolContextError(JobPoolError):
    """A job pool was used outside of its ``with`` block."""


class JobPoolTimeoutError(JobPoolError, TimeoutError):
    """A run took longer than the timeout that `JobPool.execute` was given.

    Its ``__cause__`` is a `WorkflowError` where jobs had failed before.

    Parameters
    ----------
    message : str
        How far the run got.
    results : dict of Job to object, optional
        What the jobs returned that had succeeded; None when results were not asked for.
    """

    def __init__(self, message: str, results: dict[Any, Any] | None = None) -> None:
        super().__init__(message)
        self.results = results

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the results here: their jobs mean nothing on another rank."""
        return type(self), self.args


class JobSchedulingError(JobPoolError):
    """A node could not schedule its jobs."""


class WorkerLostError(JobPoolError):
    """A rank died while it took part in a pool.

    Attributes
    ----------
    rank : int
        The rank in the pool's communicator; -1 when it was not one alone.
    job : Job or None
        What it ran.
    signal : int
        The number of the signal that it died of; 0 when that is not known.
    """

    def __init__(self, message: str, rank: int = -1, job: Any = None, signal: int = 0) -> None:
        super().__init__(message)
        self.rank, self.job, self.signal = rank, job, signal

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep all but the job over a pickle."""
        return type(self), (self.args[0], self.rank, None, self.signal)

    @classmethod
    def while_running(cls, job: Any, rank: int, signal: int) -> WorkerLostError:
        """Return the error of a job whose rank has died."""
        of = f" of {signals.Signals(signal).name}" if signal else ""
        return cls(f"rank {rank} died{of} while it ran {job.label}", rank, job, signal)


class JobErroredError(Exception):
    """A job failed.

    Parameters
    ----------
    message : str
        Which job failed.
    error : BaseException
        What the job raised.
    """

    def __init__(self, message: str, error: BaseException | None = None) -> None:
        super().__init__(message)
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the error over a pickle."""
        return type(self), (self.args[0], self.error)


class WorkflowError(ExceptionGroup):
    """Jobs failed, or could not be scheduled; one error for each."""

    def derive(self, excs: Sequence[Any], /) -> Any:
        """Keep the type when the group is split."""
        return WorkflowError(self.message, excs)


class WorkerTraceback(Exception):
    """Where on a worker an error was raised; the ``__cause__`` of the error on main.

    The traceback is its note: interpreters before Python 3.13 print notes, but not messages of
    several lines, inside the bars of an exception group.

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


class RemoteError(Exception):
    """Stands for an error of a worker that could not be brought to main as it was."""
