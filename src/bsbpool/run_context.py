"""The part of a pool that the code which runs its jobs may use, and the contexts of open pools.

`JobPool` is the public interface. Everything below it (`bsbpool.execution`, the job control, the
backends of executors) works on a `RunContext`, and never on private names of the pool.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping

from bsbpool import arguments, exceptions
from bsbpool._typing import TYPE_CHECKING, Any, Protocol
from bsbpool.events import EventQueue
from bsbpool.process import marking_signals
from bsbpool.progress import ObservedPool
from bsbpool.scheduling import Schedulers
from bsbpool.status import JobStatus, PoolStatus

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from bsbpool._core.jobs.submission import Submitter
    from bsbpool._core.scheduling.engine import Engine
    from bsbpool.caching import CacheRequirements, RankCache
    from bsbpool.job import Job
    from bsbpool.spilling import ResultStore


class RunnablePool(ObservedPool, Protocol):
    """The public methods of a pool that a run calls."""

    @property
    def scheduling(self) -> bool:
        """Whether more jobs may be queued, so that the run must go on."""

    def change_status(self, status: PoolStatus) -> None:
        """Set the status of the pool."""

    def notify(self) -> None:
        """Deliver the events."""

    def ping(self) -> None:
        """Call the listeners without an event."""

    def raise_unhandled(self) -> None:
        """Raise the failures that no listener handled."""


class Run(Protocol):
    """The way in which a rank runs the jobs of a pool.

    Attributes
    ----------
    parallel : bool
        Whether other ranks run the jobs.
    """

    parallel: bool

    def execute(self) -> None:
        """Take part in the run until it has ended."""

    def close(self) -> None:
        """End the run if it has not ended, and accept no more messages of it.

        Called when the ``with`` block of the pool ends, also without `execute` before.
        """

    def wake(self) -> None:
        """Let the run look for new jobs and changes; from any thread."""

    def needed_tokens(self) -> Collection[int]:
        """Return the cache items that unfinished jobs need, as far as this rank knows."""

    def perform(self, job: Job[Any]) -> None:
        """Run a RUNNING job in this process and end it."""


INFINITY = float("inf")


class TimeLimitReached(Exception):
    """Ends a run inside the package; callers of `JobPool.execute` get a JobPoolTimeoutError.

    It is not a JobPoolError, since a job may raise the JobPoolTimeoutError of another pool.
    """


class TimeLimit:
    """The time that a run may take, counted from now.

    Parameters
    ----------
    timeout : float, optional
        Seconds. By default there is no limit.

    Raises
    ------
    TypeError, ValueError
        When `timeout` is not a number of seconds.
    """

    def __init__(self, timeout: Any = None) -> None:
        self.timeout = INFINITY if timeout is None else arguments.seconds("timeout", timeout)
        self._end = time.monotonic() + self.timeout
        self._reached = False

    @property
    def is_set(self) -> bool:
        """Whether there is a limit."""
        return self.timeout < INFINITY

    @property
    def seconds(self) -> float:
        """The seconds that are left; infinite without a limit."""
        return max(self._end - time.monotonic(), 0.0) if self.is_set else INFINITY

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._end

    @property
    def reason(self) -> str:
        """The end of the error messages of jobs that the limit ended; empty for other jobs."""
        return f": its timeout of {self.timeout:g} s was over" if self._reached else ""

    def error(
        self, counts: Mapping[JobStatus, int], results: dict[Any, Any] | None
    ) -> exceptions.JobPoolTimeoutError:
        """Return the error of a run that did not end in time, when all jobs have ended."""
        return exceptions.JobPoolTimeoutError(
            f"timeout: the run did not end within {self.timeout:g} s. "
            f"Of {sum(counts.values()):,} jobs {counts[JobStatus.SUCCESS]:,} succeeded, "
            f"{counts[JobStatus.FAILED]:,} failed, {counts[JobStatus.ABORTED]:,} were aborted and "
            f"{counts[JobStatus.CANCELLED]:,} cancelled.",
            results,
        )

    def stop_run(self) -> None:
        """End the run; the errors of jobs that it ends name the limit as the reason.

        Raises
        ------
        TimeLimitReached
            Always.
        """
        self._reached = True
        raise TimeLimitReached


class RunContext:
    """What a run uses of its pool.

    Attributes
    ----------
    pool : RunnablePool
        The public interface of the pool.
    submitter : Submitter
        The same pool for the compiled loops.
    owner : object
        The first argument of all jobs on this rank.
    comm : MPIService
        The ranks that take part.
    engine : Engine
        The scheduling tables.
    jobs : list of Job
        The jobs by number.
    lock : RLock
        Held while the status of a job and data that belong to it change together.
    events : EventQueue
        Events for listeners, callbacks of jobs, failures.
    schedulers : Schedulers
        The threads of `JobPool.schedule`.
    cache_requirements : CacheRequirements
        The cache items that jobs need.
    cache : RankCache
        The cache items of this rank.
    store : ResultStore or None
        Keeps results where `max_memory` bounds their memory.
    time_limit : TimeLimit
        The limit of the present run.
    results : dict or None
        The results that `execute` returns; None if it returns none.
    pool_id : int
        The id of the pool, also after its ``with`` block.
    closed : bool
        Whether the ``with`` block of the pool has ended.
    run : Run
        The way in which this rank runs the jobs.
    """

    run: Run

    def __init__(
        self,
        *,
        pool: RunnablePool,
        pool_id: int,
        submitter: Submitter,
        engine: Engine,
        jobs: list[Job[Any]],
        collect_results: Callable[[], dict[Job[Any], Any]],
        owner: Any,
        comm: Any,
        cache: RankCache,
        cache_requirements: CacheRequirements,
        store: ResultStore | None,
    ) -> None:
        self.pool = pool
        self.pool_id = pool_id
        self.submitter = submitter
        self.engine = engine
        self.jobs = jobs
        self.owner = owner
        self.comm = comm
        self.cache = cache
        self.cache_requirements = cache_requirements
        self.store = store
        self.lock = threading.RLock()
        self.events = EventQueue(submitter, engine, self.lock)
        self.schedulers = Schedulers(self.events, lambda: self.run.wake())
        self.time_limit = TimeLimit()
        self.results: dict[Job[Any], Any] | None = None
        self.closed = False
        self._collect_results = collect_results

    def kept(self, value: Any) -> Any:
        """Return the object that a job keeps for a result of this process."""
        return value if self.store is None else self.store.keep_value(value)

    def check_time(self) -> None:
        """Raise TimeLimitReached when no time is left and some jobs have not ended."""
        # In this order: a job that a scheduler queues before it ends must be counted.
        if self.time_limit.is_over and (self.pool.scheduling or self.engine.unfinished):
            self.time_limit.stop_run()

    def read_results(self) -> None:
        """Read the results that `execute` returns, while their errors can fail the run."""
        if self.results is not None and not self.events.failures:
            self.results = self._collect_results()

    def end_early(self, error: BaseException) -> None:
        """End all jobs and report this while `error` is being raised."""
        self.engine.abort_run()
        if self.results is not None and isinstance(error, TimeLimitReached):
            with marking_signals():
                self.results = self._collect_results()  # before the counts go into the error
        if self.pool.status is not PoolStatus.CLOSING:
            self.pool.change_status(PoolStatus.CLOSING)
        self.events.deliver_rest()


class OpenPools:
    """The open pools by their ids.

    Attributes
    ----------
    reserved : set of int
        The ids of all pools that are open or can still be entered.
    """

    def __init__(self) -> None:
        self._contexts: dict[int, RunContext] = {}
        self._folders: dict[int, TemporaryDirectory[str]] = {}
        self._lock = threading.Lock()
        self.reserved: set[int] = set()

    def __len__(self) -> int:
        return len(self._contexts)

    def reserve(self, id: int) -> int:
        """Return the smallest free id from `id` on, and reserve it.

        Ids that are made from the time repeat, and two pools must not share one.
        """
        free = next(n for n in itertools.count(id) if n not in self.reserved)
        self.reserved.add(free)
        return free

    def add(self, id: int, context: RunContext) -> None:
        """Add a pool whose ``with`` block begins."""
        self._contexts[id] = context

    def remove(self, id: int) -> None:
        """Remove a pool and its folder, and release its id."""
        self._contexts.pop(id, None)
        self.reserved.discard(id)
        folder = self._folders.pop(id, None)
        if folder is not None:
            folder.cleanup()

    def owner(self, id: int) -> Any:
        """Return the owner of an open pool."""
        return self._contexts[id].owner

    def folder(self, id: int) -> str:
        """Return the temporary folder of an open pool, which is made on first use."""
        with self._lock:
            if id not in self._folders and self._contexts[id]:
                from tempfile import TemporaryDirectory  # slow to import, rarely used

                self._folders[id] = TemporaryDirectory(prefix="bsbpool-")
            return self._folders[id].name

    def needed_by_others(self, context: RunContext) -> set[int]:
        """Return the cache tokens that other pools of the same owner need.

        There are such pools while a job uses a pool inside the run of another.
        """
        needed: set[int] = set()
        for other in list(self._contexts.values()):
            if other is not context and other.owner is context.owner is not None:
                needed.update(other.run.needed_tokens())
        return needed


open_pools = OpenPools()
