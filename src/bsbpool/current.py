"""The job that the calling thread runs, for the code of the job."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from bsbpool import exceptions
from bsbpool._core.jobs.invoke import RunningJob
from bsbpool._typing import Any
from bsbpool.naming import job_text
from bsbpool.process import running_here

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def current_job() -> CurrentJob | None:
    """Return the job that the calling thread runs; None outside of a job.

    Threads that a job starts are outside of it.

    Examples
    --------
    >>> import bsbpool
    >>> with bsbpool.create_job_pool(quiet=True) as pool:
    ...     job = pool.submit(lambda owner: bsbpool.current_job().number)
    ...     results = pool.execute(return_results=True)
    >>> results[job]
    0
    >>> bsbpool.current_job() is None
    True

    What a job can tell about itself, for example in its log:

    >>> def simulate(owner, seed):
    ...     job = bsbpool.current_job()
    ...     return f"{job.label}, id {job.id}, attempt {job.attempt}, rank {job.rank}"
    >>> with bsbpool.create_job_pool(quiet=True) as pool:
    ...     job = pool.queue(simulate, (3,), submitter="Alice")
    ...     results = pool.execute(return_results=True)
    >>> results[job]
    "job 0 'simulate(3)' of 'Alice', id 0, attempt 1, rank 0"
    """
    running = running_here()
    if running is None or running.describe is None:
        return None
    details = running.details
    if isinstance(details, CurrentJob):
        return details
    described: CurrentJob = running.describe(running.number)
    return described


class CurrentJob:
    """A job, for its own code; `current_job` returns it.

    Attributes
    ----------
    number : int
        The number of the job in its pool, as `Job.number`.
    name : str
        The option `name`, or the name of its function.
    label : str
        The text of the job, as in messages. On a worker, those of jobs without options have no
        submitter, and no arguments either if these are not plain values such as numbers and texts.
    rank : int
        The rank that runs it, in the communicator of its pool.
    gang : object
        For internal use: the ranks that run it at one time, or None.
    attempt : int
        1, and more when the job runs again because of the option `retries`.
    resources : mapping of str to object
        What the job occupies of the resources of its rank; empty without the option `resources`.
    seed : int or None
        The option `seed`.
    stream : int
        The number of the job's stream of random numbers; that of the job in its pool.
    send_output : callable or None
        For internal use: sends output of a job to the main rank.
    """

    def __init__(
        self,
        running: RunningJob,
        name: str,
        rank: int,
        *,
        label: str | None = None,
        call_text: Callable[[], str] | None = None,
        attempt: int = 1,
        resources: Mapping[str, Any] = _NOTHING,
        seed: int | None = None,
        poll: Callable[[], None] | None = None,
        send_output: Callable[[int, int, bytes], None] | None = None,
    ) -> None:
        self._running = running
        self.number = running.number
        self.name = name
        self._label = label
        self._call_text = call_text
        self.rank = rank
        self.attempt = attempt
        self.resources = resources
        self.seed = seed
        self.stream = running.number
        self.send_output = send_output
        self.gang: Any = None
        self._poll = poll
        self._rng: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label} on rank {self.rank}>"

    @property
    def label(self) -> str:
        """The text of the job, made when it is first used."""
        if self._label is None:
            text = self.name if self._call_text is None else self._call_text()
            self._label = job_text(self.number, text)
        return self._label

    @label.setter
    def label(self, label: str) -> None:
        self._label = label

    @property
    def id(self) -> int:
        """The same as `number`."""
        return self.number

    @property
    def host(self) -> str:
        """The name of the host that runs the job."""
        return os.uname().nodename

    @property
    def cancelled(self) -> bool:
        """Whether the job is to end: it was cancelled, its time is over, or its run has ended.

        An error is raised in the job then as well, at its next bytecode. Loops that execute no
        bytecode, such as those of extension modules, can ask for this flag instead. Where MPI does
        not support threads, only jobs that ask for it learn that they were cancelled.
        """
        if self._poll is not None and threading.get_ident() == self._running.thread:
            self._poll()
        return self._running.interrupted(self.number) != 0

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks that run the job, in the order of `comm`; more than one with `ranks`."""
        return (self.rank,) if self.gang is None else self.gang.ranks

    @property
    def comm(self) -> Any:
        """The mpi4py communicator of the ranks that run the job, with the option `ranks`.

        For other jobs it is ``MPI.COMM_SELF``. It is freed by the pool, and kept for later jobs, so
        a job must receive all that it sends, and must not free it.

        Raises
        ------
        DependencyError
            When mpi4py is not installed.

        Examples
        --------
        >>> import bsbpool
        >>> def mean(owner, x):
        ...     comm = bsbpool.current_job().comm
        ...     return comm.allreduce(x) / comm.size
        >>> with bsbpool.create_job_pool(quiet=True) as pool:
        ...     job = pool.options(ranks=1).submit(mean, 5)
        ...     pool.execute()
        ...     print(job.result)
        5.0
        """
        if self.gang is not None:
            return self.gang.comm
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise exceptions.DependencyError(
                "current_job().comm is a communicator of mpi4py, which is not installed; install "
                "it with: pip install mpi4py"
            ) from error
        return MPI.COMM_SELF

    @property
    def rng(self) -> Any:
        """A `numpy.random.Generator` of this job, made on first use.

        Its stream depends on the option `seed` and the number of the job only, or its key in a
        journal, so it is the same on any number of ranks, and in each attempt. A job on several
        ranks has another stream on each, which depends on the rank in `comm`.

        Raises
        ------
        JobPoolError
            When the job was queued without the option `seed`.
        """
        if self._rng is None:
            if self.seed is None:
                raise exceptions.JobPoolError(
                    f"{self.label} has no random numbers: it was queued without a seed; queue it "
                    "with pool.options(seed=...)"
                )
            from numpy.random import SeedSequence, default_rng

            member = 0 if self.gang is None else self.gang.comm.Get_rank()
            key = (self.stream, member) if member else (self.stream,)
            self._rng = default_rng(SeedSequence(self.seed, spawn_key=key))
        return self._rng
