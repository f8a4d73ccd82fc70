"""The job pool: where jobs are queued, executed and asked about."""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, TypeVar, overload

from bsbpool import arguments, caching, exceptions, execution
from bsbpool._core.jobs.submission import Submitter, check_arguments
from bsbpool.compat import PrivateNames
from bsbpool.dependency_failures import DependencyFailures
from bsbpool.execution.timelimit import TimeIsUp, TimeLimit
from bsbpool.interrupts import heeding_sigterm, is_from_signal, noticing_signals
from bsbpool.job import ConnectivityJob, FunctionJob, Job, PlacementJob
from bsbpool.naming import add_note, brief
from bsbpool.progress import (
    Listener,
    PoolProgress,
    PoolProgressReason,
    PoolStatusProgress,
)
from bsbpool.reporting import Reporter
from bsbpool.running import running
from bsbpool.scheduling import Schedulers
from bsbpool.spilling import ResultStore
from bsbpool.status import FINISHED, JOB_STATUSES, JobStatus, PoolStatus
from bsbpool.submissions import Submissions
from bsbpool.workflow import Workflow

AnyJob = TypeVar("AnyJob", bound=Job)

_OUTSIDE, _OPEN, _EXECUTING, _DONE, _CLOSED = "outside", "open", "executing", "done", "closed"


class JobPool(Submitter, PrivateNames):
    """Runs jobs with dependencies on the ranks of a communicator.

    Every rank makes the pool, enters it and executes it. The main rank (0) queues
    jobs; while it executes them the other ranks run them. With one rank the same
    jobs run one after the other in this process.

    Making a pool is collective over the owner's communicator; queueing is not.

    Parameters
    ----------
    id : int
        The id of the pool, the same on all ranks. Taken ids are replaced.
    scaffold : object
        The owner: what every job gets as its first argument, each rank its own.
        Its `_comm` says which ranks take part; without one, all do.
    fail_fast : bool
        Whether the first failed job ends the run.
    workflow : Workflow, optional
        The work of which this pool is a phase.
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part, when the owner does not say.
    max_memory : int, optional
        Bytes of results that the main rank holds in memory. Results beyond that go to a file
        that nobody else can read, in the folder for temporary files (`TMPDIR`), and are read
        back whenever they are asked for; the file goes with the pool. Results of up to 128
        bytes do not count, nor do those that were handed out. Where the file cannot be written,
        results stay in memory and a warning is logged. With one rank, results are pickled
        to be kept, so each look at one gives a copy; those that cannot be pickled stay. By
        default there is no bound.

    Examples
    --------
    >>> with JobPool(1, None) as pool:
    ...     three = pool.queue(lambda owner: 3)
    ...     later = pool.queue(lambda owner, x: x * x, (4,), deps=[three])
    ...     results = pool.execute(return_results=True)
    >>> list(results.values())
    [3, 16]
    """

    _pools: ClassVar[dict[int, JobPool]] = {}
    _pool_owners: ClassVar[dict[int, Any]] = {}
    _tmp_folders: ClassVar[dict[int, tempfile.TemporaryDirectory[str]]] = {}
    _given_ids: ClassVar[set[int]] = set()
    _kind: ClassVar[type[Job]] = FunctionJob

    def __init__(
        self,
        id: int,
        scaffold: Any,
        fail_fast: bool | None = False,
        workflow: Workflow | None = None,
        *,
        comm: Any = None,
        max_memory: int | None = None,
    ) -> None:
        self._fail_fast = fail_fast is not None and arguments.flag("fail_fast", fail_fast)
        self._store = None if max_memory is None else ResultStore(max_memory)
        self.id: int | None = self._take_id(id)
        self._given_id = self.id
        self._scaffold = scaffold
        self._comm = execution.service_for(scaffold, comm)
        self._workflow = workflow
        self._status: PoolStatus | None = None
        self._lock = threading.RLock()
        own = type(self).put is not JobPool.put or type(self)._put is not JobPool._put
        self._open_submission(JOB_STATUSES, self._kind, own)
        self._submissions = Submissions()
        self._needs = caching.Needs(self._engine)
        self._reporter = Reporter(self)
        self._dependency_failures = DependencyFailures()
        self._schedulers = Schedulers(self)
        self._limit = TimeLimit(self)
        self._state = _OUTSIDE
        self._returned: dict[Any, Any] | None = None
        self._run = self._prepare()

    def _prepare(self) -> execution.Run:
        return execution.prepare(self)

    @classmethod
    def _take_id(cls, id: int) -> int:
        # Ids made from the clock repeat; two live pools must not share one.
        taken = next(n for n in itertools.count(id) if n not in cls._given_ids)
        cls._given_ids.add(taken)
        return taken

    # ------------------------------------------------------------ life cycle

    def __enter__(self) -> JobPool:
        if self._state is not _OUTSIDE:
            raise exceptions.JobPoolContextError(
                "This pool has already been entered; make a new pool for another `with` block."
            )
        assert self.id is not None
        self._pools[self.id] = self
        self._pool_owners[self.id] = self._scaffold
        self._tmp_folders[self.id] = tempfile.TemporaryDirectory(prefix="bsbpool-")
        self._state = _OPEN
        self._untrack_jobs()  # alive by `_pools`
        try:
            self._reporter.event_queue.enter()
            self.change_status(PoolStatus.SCHEDULING)
            self.notify()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        if self._state not in (_OPEN, _DONE) or self._schedulers.is_here():
            self._refuse_exit(*error)
            return
        assert self.id is not None
        forgotten = 0
        if self._state is _OPEN and not any(error) and self.is_main():
            forgotten = self._engine.unfinished
        self._close_submission()
        self._schedulers.stop()
        try:
            try:
                self._run.leave()
            finally:
                self._reporter.event_queue.exit(*error)
        finally:
            self._state = _CLOSED
            self._forget_jobs()
            self._pools.pop(self.id, None)
            self._pool_owners.pop(self.id, None)
            self._given_ids.discard(self.id)
            folder = self._tmp_folders.pop(self.id, None)
            if folder is not None:
                folder.cleanup()
            self.id = None
        if forgotten:
            warnings.warn(
                f"The `with` block of this pool ended without pool.execute(), so {forgotten:,} "
                f"queued job{'s' * (forgotten > 1)} did not run.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _refuse_exit(self, kind: Any = None, error: BaseException | None = None, *_: Any) -> None:
        """Say why the block cannot end here; an error that leaves it only gets a note."""
        if self._state in (_OUTSIDE, _CLOSED):
            reason = "The `with` block of this pool has not begun, or has already ended."
        elif self._state is _EXECUTING:
            reason = "The `with` block of a pool cannot end before pool.execute() has returned."
        else:
            reason = "A scheduler cannot end the `with` block of its pool."
        if error is None:
            raise exceptions.JobPoolContextError(reason)
        add_note(error, reason)

    def _forget_jobs(self) -> None:
        """Let results go now, and jobs with their last handle: both can be large."""
        self._reporter.gather()
        self._drop_jobs()
        if self._store is not None:
            self._store.close()
        self._submissions = Submissions()
        self._dependency_failures = DependencyFailures()
        self._reporter.failures = {}
        self._reporter.event_queue.waiting.clear()

    # ------------------------------------------------------------ asking

    @property
    def workflow(self) -> Workflow | None:
        """The work of which this pool is a phase."""
        return self._workflow

    @property
    def status(self) -> PoolStatus | None:
        """What the pool is doing; None before its ``with`` block."""
        return self._status

    @property
    def jobs(self) -> list[Job]:
        """The jobs in the order of queueing, as a new list; empty after the ``with`` block."""
        return [] if self._state is _CLOSED else list(self._job_queue)

    @property
    def counts(self) -> dict[JobStatus, int]:
        """How many jobs have each status, on this rank."""
        return dict(zip(JOB_STATUSES, self._engine.counts(), strict=True))

    @property
    def parallel(self) -> bool:
        """Whether other ranks run the jobs."""
        return self._run.parallel

    @property
    def owner(self) -> Any:
        """What jobs get as their first argument on this rank."""
        return self._scaffold

    @property
    def scheduling(self) -> bool:
        """Whether a thread of `schedule` still runs."""
        return self._schedulers.alive

    def is_main(self) -> bool:
        """Whether this rank is the one that schedules; a pool inside a job has its rank alone."""
        return not self.parallel or self._comm.get_rank() == 0

    @classmethod
    def get_owner(cls, id: int) -> Any:
        """Return the owner of the open pool `id`; KeyError when there is none."""
        return cls._pool_owners[id]

    @classmethod
    def get_tmp_folder(cls, id: int) -> str:
        """Return the folder of the open pool `id` that is removed with it."""
        return cls._tmp_folders[id].name

    def get_submissions_of(self, submitter: Any) -> list[Job]:
        """Return the jobs that were queued by this very object."""
        with self._lock:
            return self._submissions.of(submitter, self._job_queue)

    # ------------------------------------------------------------ queueing

    def submit(
        self, f: Callable[..., Any], /, *args: Any, deps: Iterable[Job] | None = None, **kwargs: Any
    ) -> FunctionJob:
        """Queue a call of ``f(owner, *args, **kwargs)``; see `queue`."""
        job: FunctionJob = self.queue(f, args, kwargs, deps)
        return job

    def queue_placement(
        self, strategy: Any, chunk: Any, deps: Iterable[Job] | None = None
    ) -> PlacementJob:
        """Queue the placement of one chunk by a strategy of the owner."""
        return self.put(PlacementJob(self, strategy, chunk, deps))

    def queue_connectivity(
        self, strategy: Any, pre_roi: Any, post_roi: Any, deps: Iterable[Job] | None = None
    ) -> ConnectivityJob:
        """Queue the connection of two regions of interest by a strategy of the owner."""
        return self.put(ConnectivityJob(self, strategy, pre_roi, post_roi, deps))

    def put(self, job: AnyJob) -> AnyJob:
        """Put a job, of any subclass of `Job`, into the pool that it was made for.

        Raises
        ------
        JobPoolError
            When a dependency is not a job of this pool, or the pool is closed.
        """
        if not self._accepts:
            self._refuse()
        if not isinstance(job, Job):
            raise TypeError(f"job must be a Job, got {brief(job)}; use queue() for a function")
        if job._pool is not self or job._id is not None:
            raise exceptions.JobPoolError(
                f"{job.label} was made for another pool or is in this one already; make a new job"
            )
        if isinstance(job._arguments, tuple):
            check_arguments(job._arguments, job._kwargs)
        self._enter(job, job._deps, self._set_of(job._cache_items), bool(job._callbacks))
        return job

    def _refuse(self) -> None:
        """Say why jobs are not taken any more."""
        self._schedulers.check_stopped()
        raise exceptions.JobPoolError(self._why_over())

    def _why_over(self) -> str:
        """Say why the pool takes no more jobs."""
        if self._state is _CLOSED:
            return "This pool's `with` block has ended; open a new pool for more jobs."
        return "This pool has already been executed; open a new pool for more jobs."

    def _refuse_argument(self, name: str, value: Any) -> None:
        arguments.refuse(name, value)

    def _refuse_dependency(self, deps: Any, item: Any, inside: bool) -> None:
        """Say what is wrong with `deps`, or with what is in it."""
        if not inside:
            raise TypeError(f"deps must be a list of jobs, got {brief(deps)}; use deps=[job]")
        if not isinstance(item, Job):
            raise TypeError(f"deps must contain jobs as returned by queue(), got {brief(item)}")
        raise exceptions.JobPoolError(
            f"deps contains {item.label}, which is not in this pool; queue it here, or execute "
            "its pool first and leave it out"
        )

    def _check_context(self, context: dict[str, Any]) -> None:
        """Warn of keywords that look like a misspelt parameter; `queue` has no frame here."""
        arguments.warn_of_context(context)

    def _set_of(self, needs: Any) -> int:
        if not needs:
            return -1
        with self._lock:
            return self._needs.set_of(arguments.cache_items(needs))

    _put = put

    def schedule(self, nodes: Iterable[Any], scheduler: Callable[[Any], Any] | None = None) -> None:
        """Let nodes queue their jobs, in a thread of its own; returns at once.

        A node that raises, and the nodes that depend on it by `depends_on`, are
        reported when the pool has executed; the others go on.

        Parameters
        ----------
        nodes : iterable
            What to schedule, in order.
        scheduler : callable, optional
            Called with each node; by default ``node.queue(pool)``.
        """
        if not hasattr(nodes, "__iter__"):
            raise TypeError(f"nodes must be a list of nodes, got {brief(nodes)}; use [node]")
        if scheduler is not None and not callable(scheduler):
            raise TypeError(f"scheduler must be callable or None, got {brief(scheduler)}")
        if not self._accepts:
            self._refuse()
        self._schedulers.start(list(nodes), scheduler or (lambda node: node.queue(self)))

    # ------------------------------------------------------------ executing

    @overload
    def execute(
        self, return_results: Literal[False] = ..., timeout: float | None = ...
    ) -> None: ...

    @overload
    def execute(
        self, return_results: Literal[True], timeout: float | None = ...
    ) -> dict[Job, Any]: ...

    @overload
    def execute(
        self, return_results: bool, timeout: float | None = ...
    ) -> dict[Job, Any] | None: ...

    def execute(
        self, return_results: bool = False, timeout: float | None = None
    ) -> dict[Job, Any] | None:
        """Run the jobs; returns when all have ended. Collective.

        Parameters
        ----------
        return_results : bool
            Whether to return what the successful jobs returned. Large arrays then live in
            the memory that they were received in. A job whose result cannot be unpickled here is
            FAILED; `Job.result` gives the results of the others until the end of the ``with``
            block.
        timeout : float, optional
            Seconds that the run may take, on the main rank; the others ignore theirs. When they
            are over, jobs that run are ABORTED, the others CANCELLED, and nobody is waited for:
            a rank that is inside a job leaves the run when that ends. In a run of one process the
            time is looked at between jobs, since it cannot leave a job; while a listener is
            called at a pace, jobs run in a thread of their own, which is left behind.

        Returns
        -------
        dict of Job to object, or None
            The results in the order of queueing; empty on the other ranks.

        Raises
        ------
        JobPoolContextError
            Outside of the ``with`` block, or the second time. A call while the pool executes (from
            a callback, a listener, a scheduler, a job or another thread) leaves the run alone.
        JobPoolTimeoutError
            When the run did not end in time. It has the `results` so far, if they are to be
            returned; `Job.result` gives them until the end of the ``with`` block in any case.
            Failures before are its ``__cause__``. The other ranks raise a WorkflowError.
        WorkflowError
            When jobs failed or could not be scheduled, on all ranks.
        """
        return_results = arguments.flag("return_results", return_results)
        limit = TimeLimit(self, timeout if self.is_main() else None)
        with self._lock:  # of several threads one begins
            self._check_executable()
            self._state, self._limit = _EXECUTING, limit
        self._returned = {} if return_results else None
        try:
            for prepare in running.preparations:
                prepare()
            with heeding_sigterm():
                self._run.execute()
        except TimeIsUp:
            raise self._limit.error(self._returned) from self._reporter.take_unhandled()
        finally:
            self._state = _DONE
            self._close_submission()
            self._schedulers.stop()
            results, self._returned = self._returned, None
        return results

    def _read_results(self) -> None:
        """Read the results that `execute` returns, while the run can still fail on all ranks."""
        if self._returned is not None and not self._reporter.failures:
            self._returned = self._results()

    def _lose_result(self, job: Job, error: BaseException) -> None:
        """Turn SUCCESS into FAILED: the result cannot be read. Dependents may have run."""
        with self._lock:
            if self._state is not _CLOSED and job.status is JobStatus.SUCCESS:
                self._reporter.failed(job, error)
                self._engine.revoke(self._number_of(job))

    def _check_executable(self) -> None:
        """Refuse to execute, unless this is the first time and inside the ``with`` block."""
        if self._state is _EXECUTING:
            raise exceptions.JobPoolContextError(
                "This pool is executing; `execute` can be called once, and not from within the run."
            )
        if self._schedulers.is_here():
            raise exceptions.JobPoolContextError(
                "A scheduler cannot execute its pool; call execute() in the `with` block."
            )
        if self._state is _OUTSIDE:
            raise exceptions.JobPoolContextError(
                "The pool must be entered first: use `with create_job_pool() as pool:`."
            )
        if self._state is not _OPEN:
            raise exceptions.JobPoolContextError(self._why_over())

    def _close_early(self, error: BaseException) -> None:
        """Tell how a run ends while its error is on its way out."""
        if self._returned is not None and isinstance(error, TimeIsUp):
            with noticing_signals():
                self._returned = self._results()  # now, since it changes the counts
        if self._status is not PoolStatus.CLOSING:
            self.change_status(PoolStatus.CLOSING)
        self._reporter.conclude()

    def _run_here(self, job: Job) -> None:
        if self._run.parallel:
            raise exceptions.JobPoolError(f"{job.label} can only run on another rank, in execute()")
        self._begin(job)
        self._run.perform(job)
        self._reporter.call_back()

    def _number_of(self, job: Job) -> int:
        if job._id is None:
            raise exceptions.JobPoolError(f"{job.label} is not in its pool yet; call pool.put(job)")
        return job._id

    def _begin(self, job: Job) -> None:
        try:
            self._engine.begin(self._number_of(job))
        except RuntimeError as error:
            raise exceptions.JobPoolError(
                f"{job.label} cannot be started: it is {job.status.name}, or other jobs that it "
                "depends on are not finished"
            ) from error

    def _end_job(self, job: Job, status: JobStatus, outcome: Any) -> None:
        number = self._number_of(job)
        if job.status is not JobStatus.RUNNING or self._engine.is_sent(number):
            self._begin(job)  # refuses what a worker runs, and what has ended
        if status is JobStatus.SUCCESS:
            try:
                job._end_with(self._kept(outcome))
            except BaseException as error:
                if is_from_signal(error):
                    raise
                status, outcome = JobStatus.FAILED, error
        if status is JobStatus.FAILED:
            self._reporter.failed(job, outcome)
        self._engine.finish(number, JOB_STATUSES.index(status))
        self._reporter.call_back()
        self._run.wake()

    def _kept(self, value: Any) -> Any:
        """Return what to keep of a result that was made in this process."""
        return value if self._store is None else self._store.keep_value(value)

    def _cancel(self, job: Job, error: BaseException) -> JobStatus:
        number = self._number_of(job)
        with self._lock:
            before: JobStatus = self._engine.cancel(number)
            if before not in FINISHED:
                job._error = error
        self._reporter.call_back()
        self._run.wake()
        return before

    # ------------------------------------------------------------ telling

    def add_listener(self, listener: Listener, max_wait: float | None = None) -> None:
        """Have `listener(progress)` called with what happens in the pool.

        Parameters
        ----------
        listener : callable
            Called on the main rank, in the thread that executes the pool. When it
            returns something true for the failure of a job, the failure counts as
            handled and is not raised. A context manager is entered and left with
            the pool.
        max_wait : float, optional
            Seconds without news after which it is called all the same.
        """
        if not callable(listener):
            raise TypeError(f"listener must be callable, got {brief(listener)}")
        if max_wait is not None:
            max_wait = arguments.seconds("max_wait", max_wait)
        self._reporter.event_queue.add(listener, max_wait)
        if self.is_main():
            self._engine.track_all()

    def add_notification(self, notification: PoolProgress) -> None:
        """Have a record delivered with the next `notify`."""
        self._reporter.gather()  # what happened before comes before
        self._reporter.event_queue.post(notification)

    def ping(self) -> None:
        """Have the listeners called though nothing happened."""
        self.add_notification(PoolProgress(self, PoolProgressReason.MAX_TIMEOUT_PING))

    def notify(self) -> None:
        """Deliver what has happened to the listeners.

        Raises
        ------
        WorkflowError
            In a pool that fails fast, when a failure was not handled.
        """
        self._reporter.notify()
        if self._fail_fast:
            self.raise_unhandled()

    def change_status(self, status: PoolStatus) -> None:
        """Set what the pool is doing and tell it with the next `notify`."""
        self._reporter.gather()
        old, self._status = self._status, status
        self.add_notification(PoolStatusProgress(self, old))

    def raise_unhandled(self) -> None:
        """Raise the failures that no listener handled, if there are any.

        Raises
        ------
        WorkflowError
            With one `JobErroredError` or `JobSchedulingError` for each.
        """
        self._reporter.raise_unhandled()

    def get_required_cache_items(self) -> set[int]:
        """Return the ids of the cache items that an unfinished job needs (main rank)."""
        return {caching.visible_id(token) for token in self._engine.needed_items}
