"""Queueing jobs: the part of `JobPool` that checks jobs and passes them to the compiled core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import RLock

from bsbpool import arguments, exceptions
from bsbpool._core.jobs.submission import Submitter
from bsbpool._typing import TYPE_CHECKING, Any, LazyType, NoReturn, TypeVar
from bsbpool.job import Job
from bsbpool.naming import brief
from bsbpool.status import JOB_STATUSES, JobStatus, PoolState

if TYPE_CHECKING:
    from bsbpool.function_job import FunctionJob
    from bsbpool.run_context import RunContext
    from bsbpool.scheduling import Scheduler, Schedulers
else:
    FunctionJob = LazyType("bsbpool.function_job", "FunctionJob")
    RunContext = LazyType("bsbpool.run_context", "RunContext")
    Scheduler = LazyType("bsbpool.scheduling", "Scheduler")
    Schedulers = LazyType("bsbpool.scheduling", "Schedulers")

T = TypeVar("T")
AnyJob = TypeVar("AnyJob", bound=Job[Any])


class JobQueue(Submitter):
    """The base class of `JobPool`: takes jobs as long as the pool accepts them, and lists them."""

    # Set by JobPool.
    run_context: RunContext
    _lock: RLock
    _schedulers: Schedulers
    _state: PoolState
    _submitters: SubmitterIndex

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
        **kwargs: Any,
    ) -> FunctionJob[T]:
        """Queue a call of ``f(owner, *args, **kwargs)``; see `queue`."""
        return self.queue(f, args, kwargs, deps)

    def put(self, job: AnyJob) -> AnyJob:
        """Queue a job of any subclass of `Job` in the pool that it was made for.

        Raises
        ------
        JobPoolError
            When a dependency is not a job of this pool, or the pool takes no more jobs.
        """
        if not self._accepts:
            self._refuse()
        if not isinstance(job, Job):
            raise TypeError(f"job must be a Job, got {brief(job)}; use queue() for a function")
        if not job.belongs_to(self):
            raise exceptions.JobPoolError(
                f"{job.label} was made for another pool; make a new job with this pool"
            )
        if job.number is not None:
            raise exceptions.JobPoolError(f"{job.label} is already in this pool; make a new job")
        self._submit_job(job)
        return job

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
            return self._submitters.jobs_of(submitter, self._job_queue)

    def _has_own_put(self) -> bool:
        """Whether a subclass replaces `put`, so that `queue` must call it."""
        return type(self).put is not JobQueue.put

    # The abstract methods of the compiled base class

    def _refuse(self) -> NoReturn:
        self._schedulers.check_stopped()
        from bsbpool.lifecycle import queue_error

        raise queue_error(self._state)

    def _refuse_argument(self, name: str, value: object) -> NoReturn:
        arguments.refuse(name, value)

    def _refuse_dependency(self, deps: object, item: object, inside: bool) -> NoReturn:
        if not inside:
            raise TypeError(f"deps must be a list of jobs, got {brief(deps)}; use deps=[job]")
        if not isinstance(item, Job):
            raise TypeError(f"deps must contain jobs as returned by queue(), got {brief(item)}")
        raise exceptions.JobPoolError(
            f"deps contains {item.label}, which is not in this pool; queue it here, or execute "
            "its pool first and leave it out"
        )

    def _check_context(self, context: Mapping[str, Any]) -> None:
        arguments.warn_of_context(context)  # `queue` has no frame for its stack level

    def _set_of(self, cache_items: Any) -> int:
        if not cache_items:
            return -1
        with self._lock:
            items = arguments.cache_items(cache_items)
            return self.run_context.cache_requirements.set_of(items)


class SubmitterIndex:
    """Finds the jobs that an object submitted; built when it is first used."""

    def __init__(self) -> None:
        self._jobs: dict[int, list[Job[Any]]] = {}
        self._indexed = 0

    def jobs_of(self, submitter: object, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """Return those of the pool's jobs that this object submitted, compared by identity."""
        new = jobs[self._indexed :]
        # Before the loop: a property of a submitter may call this method again.
        self._indexed += len(new)
        for job in new:
            self._jobs.setdefault(id(job.submitter), []).append(job)
        return list(self._jobs.get(id(submitter), ()))
