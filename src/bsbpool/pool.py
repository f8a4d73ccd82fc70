"""The job pool: queues jobs, runs them and gives access to their results."""

from __future__ import annotations

import functools
import sys
from types import TracebackType

from bsbpool import arguments, execution
from bsbpool._typing import TYPE_CHECKING, Any, ClassVar, LazyType, Literal, Self, overload
from bsbpool.caching.items import CacheRequirements, RankCache
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.naming import brief
from bsbpool.process import running
from bsbpool.progress import Listener, PoolProgress, PoolProgressReason, PoolStatusProgress
from bsbpool.queueing import JobQueue
from bsbpool.run_context import RunContext, open_pools
from bsbpool.status import JOB_STATUSES, PoolState, PoolStatus
from bsbpool.time_limit import TimeLimitReached

if TYPE_CHECKING:
    from bsbpool.job_control import PoolJobControl
    from bsbpool.runs import Run
    from bsbpool.settings import PoolSettings
    from bsbpool.workflow import Workflow
else:
    PoolJobControl = LazyType("bsbpool.job_control", "PoolJobControl")
    Run = LazyType("bsbpool.runs", "Run")
    PoolSettings = LazyType("bsbpool.settings", "PoolSettings")
    Workflow = LazyType("bsbpool.workflow", "Workflow")


class JobPool(JobQueue):
    """Runs jobs with dependencies on the ranks of a communicator.

    Every rank makes the pool (collectively), enters it and executes it. The main rank (0) queues
    jobs and schedules them; the other ranks run them. With one rank, the jobs run one after the
    other in this process.

    Parameters
    ----------
    id : int
        The id of the pool, the same on all ranks. If it is in use, the next free one is taken.
    scaffold : object
        The owner: the first argument of every job, an object of its own on each rank. If it has
        an attribute `_comm`, this is the communicator of the pool.
    fail_fast : bool
        Whether the first failed job ends the run.
    workflow : Workflow, optional
        The workflow of which this pool runs one phase.
    comm : mpi4py.MPI.Comm, optional
        The communicator of the pool; by default that of the owner, or COMM_WORLD.
    max_memory : int, optional
        Bytes of results that the main rank holds in memory; by default there is no limit. Further
        results are written to a private file in `TMPDIR`, which is deleted with the pool, and read
        back on access. Results of up to 128 bytes and those that `execute` has returned do not
        count. With one rank, results are kept as pickles, so each access gives a copy.
    settings : PoolSettings, optional
        Further settings, see `create_job_pool`.
    main_works, journal : optional
        As of `create_job_pool`; by default as `settings` say.

    Examples
    --------
    >>> with JobPool(1, None) as pool:
    ...     three = pool.queue(lambda owner: 3)
    ...     later = pool.queue(lambda owner, x: x * x, (4,), deps=[three])
    ...     list(pool.execute(return_results=True).values())
    [3, 16]
    """

    _job_type: ClassVar[type[FunctionJob[Any]]] = FunctionJob

    def __init__(
        self,
        id: int,
        scaffold: Any,
        fail_fast: bool | None = False,
        workflow: Workflow | None = None,
        *,
        comm: Any = None,
        max_memory: int | None = None,
        settings: PoolSettings | None = None,
        main_works: bool | None = None,
        journal: Any = None,
    ) -> None:
        self._fail_fast = fail_fast is not None and arguments.flag("fail_fast", fail_fast)
        if main_works is not None or journal is not None:
            from bsbpool.settings import merged

            settings = merged(settings, main_works, journal)
        self.default_options = None if settings is None else settings.job_options
        if max_memory is not None:
            from bsbpool.spilling import ResultStore  # imports tempfile and logging, which are slow

            self._store = ResultStore(max_memory)
        pool_id = open_pools.reserve(id)
        self.id: int | None = pool_id
        self._scaffold = scaffold
        self._comm = execution.service_for(scaffold, comm)
        self._workflow = workflow
        self._status: PoolStatus | None = None
        self._state = PoolState.NEW
        self._open_submission(JOB_STATUSES, self._job_type, self._requires_put())
        self.run_context = self._make_context(pool_id)
        self.run_context.apply(settings)
        self._lock = self.run_context.lock
        self._events = self.run_context.events
        self._schedulers = self.run_context.schedulers
        self.run_context.open(self._make_run(), settings)

    def _make_context(self, pool_id: int) -> RunContext:
        return RunContext(
            pool=self,
            pool_id=pool_id,
            submitter=self,
            engine=self._engine,
            jobs=self._job_queue,
            collect_results=self._results,
            owner=self._scaffold,
            comm=self._comm,
            cache=self._make_cache(),
            cache_requirements=self._make_cache_requirements(),
            store=self._store,
        )

    @functools.cached_property
    def job_control(self) -> PoolJobControl:
        """For internal use: the operations on single jobs, which many programs never need."""
        from bsbpool.job_control import PoolJobControl

        return PoolJobControl(self.run_context)

    def _make_cache(self) -> RankCache:
        return RankCache(self._scaffold, self._needed_by_others)

    def _make_cache_requirements(self) -> CacheRequirements:
        return CacheRequirements(self._engine)

    def _make_run(self) -> Run:
        return execution.make_run(self.run_context)

    def _register(self, id: int) -> None:
        open_pools.add(id, self.run_context)

    def _unregister(self, id: int) -> None:
        open_pools.remove(id)

    def _needed_by_others(self) -> set[int]:
        return open_pools.needed_by_others(self.run_context)

    # ------------------------------------------------------------ life cycle

    def __enter__(self) -> Self:
        if self._state is not PoolState.NEW:
            from bsbpool.lifecycle import refuse_enter

            refuse_enter()
        assert self.id is not None
        self._register(self.id)
        self._state = PoolState.OPEN
        self._disable_gc_tracking()  # `open_pools` keeps them alive
        try:
            self._events.enter_listeners()
            self.change_status(PoolStatus.SCHEDULING)
            self.notify()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        can_exit = self._state in (PoolState.OPEN, PoolState.EXECUTED)
        if not can_exit or self._schedulers.is_current_thread():
            from bsbpool.lifecycle import refuse_exit

            refuse_exit(self._state, error)
            return
        assert self.id is not None
        never_executed = self._state is PoolState.OPEN and kind is None and self.is_main()
        not_run = self._engine.unfinished if never_executed else 0
        self._close_submission()
        self._schedulers.stop()
        try:
            try:
                self.run_context.run.close()
            finally:
                self._events.exit_listeners(kind, error, traceback)
        finally:
            self._state = PoolState.CLOSED
            self.run_context.close()
            self._drop_contents()
            self._unregister(self.id)
            self.id = None
        if not_run:
            from bsbpool.lifecycle import warn_not_run

            warn_not_run(not_run)

    def _drop_contents(self) -> None:
        """Release the results and the jobs, which can be large, before the pool itself is freed."""
        self._events.gather()
        self._release_jobs()
        if self._store is not None:
            self._store.close()
        vars(self.run_context).pop("submitters", None)
        vars(self).pop("job_control", None)  # it refers to jobs that have failed
        self._events.clear()

    # ------------------------------------------------------------ state

    @property
    def workflow(self) -> Workflow | None:
        """The workflow of which this pool runs one phase."""
        return self._workflow

    @property
    def status(self) -> PoolStatus | None:
        """The status of the pool; None before its ``with`` block."""
        return self._status

    @property
    def parallel(self) -> bool:
        """Whether other ranks run the jobs."""
        return self.run_context.run.parallel

    @property
    def owner(self) -> Any:
        """The first argument of the jobs that run on this rank."""
        return self._scaffold

    @property
    def scheduling(self) -> bool:
        """Whether a thread of `schedule` still runs."""
        return self._schedulers.alive

    def is_main(self) -> bool:
        """Whether this rank schedules the jobs. In a pool inside a job, the only rank does."""
        return not self.parallel or self._comm.get_rank() == 0

    @classmethod
    def get_owner(cls, id: int) -> Any:
        """Return the owner of the open pool `id`; KeyError if there is none."""
        return open_pools.owner(id)

    @classmethod
    def get_tmp_folder(cls, id: int) -> str:
        """Return the temporary folder of the open pool `id`, which is deleted with the pool."""
        return open_pools.folder(id)

    def get_required_cache_items(self) -> set[int]:
        """Return the ids of the cache items that unfinished jobs need (main rank)."""
        from bsbpool.caching.ids import visible_id  # only pools with cache items need it

        return {visible_id(token) for token in self._engine.needed_items}

    # ------------------------------------------------------------ executing

    @overload
    def execute(
        self, return_results: Literal[False] = ..., timeout: float | None = ...
    ) -> None: ...

    @overload
    def execute(
        self, return_results: Literal[True], timeout: float | None = ...
    ) -> dict[Job[Any], Any]: ...

    @overload
    def execute(
        self, return_results: bool, timeout: float | None = ...
    ) -> dict[Job[Any], Any] | None: ...

    def execute(
        self, return_results: bool = False, timeout: float | None = None
    ) -> dict[Job[Any], Any] | None:
        """Run the jobs; returns when all have ended. Collective.

        Parameters
        ----------
        return_results : bool
            Whether to return the results of the successful jobs; large arrays are then not copied.
            A job whose result cannot be unpickled here is FAILED.
        timeout : float, optional
            The seconds that the run may take, on the main rank; other ranks ignore their value.
            After that, a JobCancelledError is raised in running jobs, which are ABORTED; the others
            are CANCELLED. The main rank waits for no job: a rank that is inside a job leaves the
            run when the job ends. A run of one process ends with the job. If a listener has a
            `max_wait`, jobs run in a thread, which is abandoned.

        Returns
        -------
        dict of Job to object, or None
            The results in the order of queueing; empty on the other ranks.

        Raises
        ------
        JobPoolContextError
            Outside of the ``with`` block, or when the pool was executed before. A call during the
            run (from a callback, a listener, a scheduler, a job or another thread) raises this
            error and does not disturb the run.
        JobPoolTimeoutError
            When the run did not end in time. With `return_results` its attribute `results` has the
            results so far; `Job.result` returns them, too, until the end of the ``with`` block. Its
            ``__cause__`` has the failures so far. The other ranks raise a WorkflowError.
        WorkflowError
            When jobs failed or could not be scheduled, on all ranks.
        JobCancelledError
            After `stop`.
        """
        return_results = arguments.flag("return_results", return_results)
        context = self.run_context
        limit = context.make_limit(timeout, self.is_main())
        with self._lock:  # so that only one of several threads begins
            in_scheduler = self._schedulers.is_current_thread()
            if in_scheduler or self._state is not PoolState.OPEN:
                from bsbpool.lifecycle import refuse_execute

                refuse_execute(self._state, in_scheduler)
            self._state = PoolState.EXECUTING
        context.begin(limit, {} if return_results else None)
        outer_error = sys.exc_info()[1]  # which the caller may be handling
        try:
            for prepare in running.before_execute:
                prepare()
            with context.handling_signals():
                execution.execute(context)
        except TimeLimitReached:
            raise limit.error(self.counts, context.results) from self._events.take_unhandled()
        finally:
            self._state = PoolState.EXECUTED
            self._close_submission()
            self._schedulers.stop()
            results = context.end(failed=sys.exc_info()[1] is not outer_error)
        return results

    # ------------------------------------------------------------ events

    def add_listener(self, listener: Listener, max_wait: float | None = None) -> None:
        """Call ``listener(progress)`` for each event in the pool.

        Parameters
        ----------
        listener : callable
            Called on the main rank, in the thread that executes the pool. If it returns a true
            value for the failure of a job, the failure counts as handled and is not raised. A
            context manager is entered and exited with the pool.
        max_wait : float, optional
            Seconds without an event after which the listeners are called nevertheless.
        """
        if not callable(listener):
            raise TypeError(f"listener must be callable, got {brief(listener)}")
        if max_wait is not None:
            max_wait = arguments.seconds("max_wait", max_wait)
        self._events.add_listener(listener, max_wait)
        if self.is_main() and getattr(type(listener), "job_records", True):
            self._engine.track_all()

    def add_notification(self, notification: PoolProgress) -> None:
        """Deliver a record with the next `notify`."""
        self._events.gather()  # earlier events come first
        self._events.post(notification)

    def ping(self) -> None:
        """Call the listeners with the next `notify`, without an event."""
        self.add_notification(PoolProgress(self, PoolProgressReason.MAX_TIMEOUT_PING))

    def notify(self) -> None:
        """Deliver the events to the listeners.

        Raises
        ------
        WorkflowError
            In a pool with `fail_fast`, when a failure was not handled.
        """
        self._events.notify()
        if self._fail_fast:
            self.raise_unhandled()

    def change_status(self, status: PoolStatus) -> None:
        """Set the status of the pool; listeners get the change with the next `notify`."""
        self._events.gather()
        old, self._status = self._status, status
        self.add_notification(PoolStatusProgress(self, old))

    def raise_unhandled(self) -> None:
        """Raise the failures that no listener handled, if there are any.

        Raises
        ------
        WorkflowError
            With a `JobErroredError` or a `JobSchedulingError` for each failure.
        """
        self._events.raise_unhandled()
