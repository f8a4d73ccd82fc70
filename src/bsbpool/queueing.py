"""Queueing jobs: the part of `JobPool` that checks jobs and passes them to the compiled core."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import RLock

from bsbpool import arguments
from bsbpool._core.jobs.submission import Submitter
from bsbpool._typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    LazyType,
    NoReturn,
    Self,
    TypeVar,
)
from bsbpool.jobs import Job
from bsbpool.naming import brief
from bsbpool.status import JOB_STATUSES, JobStatus, PoolState

if TYPE_CHECKING:
    from bsbpool._typing import Unpack
    from bsbpool.broadcasting import Broadcast
    from bsbpool.function_job import FunctionJob
    from bsbpool.job_groups import CompletedJobs, JobGroup
    from bsbpool.options import JobOptions, OptionValues
    from bsbpool.placement import Placement
    from bsbpool.pool_options import PoolOptions
    from bsbpool.run_context import RunContext
    from bsbpool.scheduling import Scheduler, Schedulers
    from bsbpool.statistics import PoolStatistics
    DataFrame = Any  # of pandas, which is optional
else:
    DataFrame = LazyType("pandas", "DataFrame")
    Broadcast = LazyType("bsbpool.broadcasting", "Broadcast")
    PoolStatistics = LazyType("bsbpool.statistics", "PoolStatistics")
    CompletedJobs = LazyType("bsbpool.job_groups", "CompletedJobs")
    JobGroup = LazyType("bsbpool.job_groups", "JobGroup")
    JobOptions = LazyType("bsbpool.options", "JobOptions")
    OptionValues = LazyType("bsbpool.options", "OptionValues")
    Placement = LazyType("bsbpool.placement", "Placement")
    PoolOptions = LazyType("bsbpool.pool_options", "PoolOptions")
    Unpack = LazyType("typing", "Unpack")
    FunctionJob = LazyType("bsbpool.function_job", "FunctionJob")
    RunContext = LazyType("bsbpool.run_context", "RunContext")
    Scheduler = LazyType("bsbpool.scheduling", "Scheduler")
    Schedulers = LazyType("bsbpool.scheduling", "Schedulers")

T = TypeVar("T")
AnyJob = TypeVar("AnyJob", bound=Job[Any])


class JobQueue(Submitter):
    """The base class of `JobPool`: takes jobs as long as the pool accepts them, and lists them."""

    # Set by JobPool.
    default_options: JobOptions | None
    _job_type: ClassVar[type[FunctionJob[Any]]]
    run_context: RunContext
    _lock: RLock
    _schedulers: Schedulers
    _state: PoolState

    if TYPE_CHECKING:  # the compiled base class has these methods

        def queue(
            self,
            f: Callable[..., T],
            args: Iterable[Any] | None = None,
            kwargs: Mapping[str, Any] | None = None,
            deps: Iterable[Job[Any]] | None = None,
            **context: Any,
        ) -> FunctionJob[T]:
            """Queue a call of ``f(owner, *args, **kwargs)``."""

        def queue_many(
            self,
            f: Callable[..., T],
            argses: Iterable[Iterable[Any]],
            kwargs: Mapping[str, Any] | None = None,
            deps: Iterable[Job[Any]] | None = None,
            **context: Any,
        ) -> list[FunctionJob[T]]:
            """Queue a call of ``f(owner, *args, **kwargs)`` for each `args` in `argses`."""

    def submit(
        self,
        f: Callable[..., T],
        /,
        *args: Any,
        deps: Iterable[Job[Any]] | None = None,
        key: str | None = None,
        **kwargs: Any,
    ) -> FunctionJob[T]:
        """Queue a call of ``f(owner, *args, **kwargs)``; see `queue`, for `key` `JobOptions`."""
        return (self if key is None else self.options(key=key)).queue(f, args, kwargs, deps)

    def options(self, **options: Unpack[OptionValues]) -> PoolOptions:
        """Return a view of this pool that queues jobs with options.

        Parameters
        ----------
        **options
            The options, see `bsbpool.options.JobOptions`.

        Returns
        -------
        PoolOptions
            Has `queue`, `submit`, `queue_many` and `map`, which apply the options.

        Raises
        ------
        TypeError, ValueError
            When an option does not exist or has a wrong value.

        Examples
        --------
        >>> from bsbpool import create_job_pool
        >>> with create_job_pool(quiet=True) as pool:
        ...     four = pool.submit(lambda owner, x: x * x, 2)
        ...     job = pool.options(name="square", priority=1).submit(lambda owner, x: x * x, four)
        ...     pool.execute()
        ...     print(job.label, job.result)
        job 1 'square' 16
        """
        from bsbpool.options import make_options
        from bsbpool.pool_options import PoolOptions

        return PoolOptions(self, make_options(options))

    def broadcast(self, obj: T) -> Broadcast[T]:
        """Return a reference to a copy of an object, as an argument of many jobs.

        It is sent to each machine once. The ranks there share the memory of its arrays, which jobs
        cannot change. It is dropped when these jobs and the reference are. See `Broadcast`.
        """
        from bsbpool.broadcasting import make_broadcast

        context = self.run_context
        return make_broadcast(obj, not context.run.parallel or context.comm.get_rank() == 0)

    def run_on_all(self, f: Callable[..., T], /, *args: Any, **kwargs: Any) -> dict[int, Job[T]]:
        """Queue a call of ``f(owner, *args, **kwargs)`` on each worker; return the jobs by rank."""
        from bsbpool.worker_data import run_on_all
        return run_on_all(self, f, args, kwargs)

    def scatter(self, items: Any) -> dict[int, Job[Any]]:
        """Distribute a sequence; the jobs, by rank, stand for parts that stay on the workers."""
        from bsbpool.worker_data import scatter
        return scatter(self, items)

    def push(self, values: Mapping[str, Any]) -> dict[int, Job[None]]:
        """Set variables on each worker, which `bsbpool.worker_data.pushed` has."""
        from bsbpool.worker_data import push
        return push(self, values)

    def pull(self, *names: str) -> dict[int, Job[Any]]:
        """Get variables of `push` from each worker: the jobs, by rank, have a dict as result."""
        from bsbpool.worker_data import pull
        return pull(self, names)

    def make_job(
        self,
        f: Callable[..., T],
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        deps: Iterable[Job[Any]] | None,
        context: Mapping[str, Any],
    ) -> FunctionJob[T]:
        """For internal use: make the job of a call without queueing it."""
        if not callable(f):
            arguments.refuse("f", f)
        pool: Any = self  # `JobPool` is an `OwningPool`
        return self._job_type(pool, f, args, kwargs, deps, **context)

    def put(self, job: AnyJob) -> AnyJob:
        """Queue a job of any subclass of `Job` in the pool that it was made for.

        Raises
        ------
        JobPoolError
            When a dependency is not a job of this pool, or the pool takes no more jobs.
        """
        if not self._accepts:
            self._refuse()
        if not isinstance(job, Job) or not job.belongs_to(self) or job.number is not None:
            from bsbpool.job_inputs import refuse_job
            refuse_job(job, self)
        if job.options is None:
            job.options = self.default_options
        if job.options is None:
            self._submit_job(job)
        else:
            self._put_with_options(job, job.options)
        return job

    def _put_with_options(
        self, job: Job[Any], options: JobOptions, tracked: bool = False, follow: Sequence[int] = ()
    ) -> None:
        job.add_dependencies(options.deps)
        if options.for_workers:
            job.call_indirectly()
        self._submit_job(job, self.placement.spec_of(options, follow), tracked)
        if options.timeout is not None:
            self.run_context.has_timeouts = True
        if options.dependency_timeout is not None:
            self.run_context.deadlines.add(job, options.dependency_timeout)

    @functools.cached_property
    def placement(self) -> Placement:
        """For internal use: where jobs with options may run. Made when such a job is queued."""
        from bsbpool.placement import Placement

        return Placement(self.run_context, self.run_context.resources)

    def schedule(self, nodes: Iterable[Any], scheduler: Scheduler | None = None) -> None:
        """Let nodes queue their jobs in a new thread; returns at once.

        If a node raises, `execute` raises an error for this node and for each node that depends on
        it (`depends_on`). The other nodes are still scheduled.

        Parameters
        ----------
        nodes : iterable
            The nodes, in the order in which they are scheduled.
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

    @property
    def jobs(self) -> list[Job[Any]]:
        """The jobs in the order of queueing, as a new list; empty after the ``with`` block."""
        return [] if self._state is PoolState.CLOSED else list(self._job_queue)

    @property
    def counts(self) -> dict[JobStatus, int]:
        """The number of jobs in each status, on this rank."""
        return dict(zip(JOB_STATUSES, self._engine.counts(), strict=True))

    def get_submissions_of(self, submitter: object) -> list[Job[Any]]:
        """Return the jobs that this object submitted, compared by identity."""
        with self._lock:
            return self.run_context.submitters.jobs_of(submitter, self._job_queue)

    def statistics(self) -> PoolStatistics:
        """Return numbers about the jobs and the workers at this time, on the main rank.

        Examples
        --------
        >>> from bsbpool import JobStatus, create_job_pool
        >>> with create_job_pool(quiet=True, timestamps=True) as pool:
        ...     jobs = pool.queue_many(lambda owner, x: x * x, zip(range(4)))
        ...     pool.execute()
        ...     numbers = pool.statistics()
        >>> numbers.jobs[JobStatus.SUCCESS]
        4
        """
        from bsbpool.statistics import statistics_of
        return statistics_of(self.run_context, self.counts)

    def to_dataframe(self) -> DataFrame:
        """Return a pandas table of the metadata of all jobs, one row each.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        from bsbpool.statistics import to_dataframe
        return to_dataframe(job.metadata for job in self._job_queue)

    # ------------------------------------------------------------ waiting

    def group(self, jobs: Iterable[Job[T]]) -> JobGroup[T]:
        """Return jobs as one handle, which has `ready`, `wait`, `get` and can be awaited."""
        from bsbpool.job_groups import JobGroup

        return JobGroup(jobs)

    def gather(self, jobs: Iterable[Job[T]], timeout: float | None = None) -> list[T]:
        """Return the results of jobs in order; wait for them first.

        Raises
        ------
        WorkflowError
            If some did not succeed, with an error for each; see `JobGroup.get`.
        TimeoutError, JobPoolError
            If they do not end in time, or if the wait would not end.

        Examples
        --------
        >>> from bsbpool import create_job_pool
        >>> with create_job_pool(quiet=True) as pool:
        ...     jobs = pool.queue_many(lambda owner, x: x * x, zip(range(4)))
        ...     pool.execute()
        ...     print(pool.gather(jobs))
        [0, 1, 4, 9]
        """
        return self.group(jobs).get(timeout)

    def as_completed(self, jobs: Iterable[Job[T]]) -> CompletedJobs[T]:
        """Return jobs in the order in which they end, for ``for`` or ``async for``."""
        from bsbpool.job_groups import CompletedJobs

        return CompletedJobs(jobs)

    async def execute_async(
        self, return_results: bool = False, timeout: float | None = None
    ) -> dict[Job[Any], Any] | None:
        """Run the jobs; coroutines of the main rank run meanwhile. See `JobPool.execute`.

        The main rank executes the pool in a thread. If the task is cancelled, the run is stopped.

        Examples
        --------
        >>> import asyncio
        >>> from bsbpool import create_job_pool
        >>> async def main():
        ...     async with create_job_pool(quiet=True) as pool:
        ...         job = pool.submit(lambda owner: 3)
        ...         run = asyncio.ensure_future(pool.execute_async())
        ...         print(await job)
        ...         await run
        >>> asyncio.run(main())
        3
        """
        from bsbpool.job_groups import execute

        pool: Any = self
        results: dict[Job[Any], Any] | None = await execute(pool, return_results, timeout)
        return results

    async def __aenter__(self) -> Self:
        pool: Any = self
        entered: Self = pool.__enter__()
        return entered

    async def __aexit__(self, *error: Any) -> None:
        from bsbpool.job_groups import leave

        pool: Any = self
        await leave(pool, *error)

    def stop(self) -> None:
        """End the run early, from any thread: as at the end of its `timeout`, without waiting.

        `execute` then raises a `JobCancelledError`. Without a run nothing happens.
        """
        self.run_context.time_limit.end_now()
        self.run_context.run.wake()

    def _requires_put(self) -> bool:
        """Whether `queue` must call `put`: a subclass replaces it, or all jobs have options."""
        return type(self).put is not JobQueue.put or self.default_options is not None

    # The abstract methods of the compiled base class

    def _refuse(self) -> NoReturn:
        self._schedulers.check_stopped()
        from bsbpool.lifecycle import queue_error

        raise queue_error(self._state)

    def _refuse_argument(self, name: str, value: object) -> NoReturn:
        arguments.refuse(name, value)

    def _refuse_dependency(self, deps: object, item: object, inside: bool) -> NoReturn:
        from bsbpool.job_inputs import refuse_dependency
        refuse_dependency(deps, item, inside)

    def _with_inputs(self, job: Any, deps: Iterable[Job[Any]] | None) -> Iterable[Job[Any]] | None:
        from bsbpool.job_inputs import with_inputs

        return with_inputs(self, job, deps)

    def _optioned(self, function: Any) -> PoolOptions:
        from bsbpool.pool_options import PoolOptions

        return PoolOptions(self, function.options)

    def _check_context(self, context: Mapping[str, Any]) -> None:
        arguments.warn_of_context(context)  # `queue` has no frame for its stack level

    def _set_of(self, cache_items: Any) -> int:
        if not cache_items:
            return -1
        with self._lock:
            items = arguments.cache_items(cache_items)
            return self.run_context.cache_requirements.set_of(items)
