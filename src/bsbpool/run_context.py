"""The part of a pool that the code which runs its jobs may use.

`JobPool` is the public interface. Everything below it (`bsbpool.execution`, the job control, the
backends of executors) works on a `RunContext`, and never on private names of the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from bsbpool._typing import TYPE_CHECKING, Any, Protocol
from bsbpool.events import EventQueue
from bsbpool.interrupts import marking_signals
from bsbpool.progress import ObservedPool
from bsbpool.scheduling import Schedulers
from bsbpool.status import PoolStatus
from bsbpool.time_limit import TimeLimit, TimeLimitReached

if TYPE_CHECKING:
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
        """Return the form in which a result of this process is kept."""
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
