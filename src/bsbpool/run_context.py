"""The part of a pool that the code which runs its jobs may use, and the contexts of open pools.

`JobPool` is the public interface. Everything below it (`bsbpool.execution`, the job control, the
backends of executors) works on a `RunContext`, and never on private names of the pool.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable

from bsbpool import exceptions
from bsbpool._typing import TYPE_CHECKING, Any
from bsbpool.events import EventQueue
from bsbpool.process import Terminated, marking_signals, raising_on_sigterm
from bsbpool.scheduling import Schedulers
from bsbpool.status import PoolStatus
from bsbpool.time_limit import TimeLimit, TimeLimitReached

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from tempfile import TemporaryDirectory

    from bsbpool._core.jobs.job_times import JobTimes
    from bsbpool._core.jobs.submission import Submitter
    from bsbpool._core.scheduling.engine import Engine
    from bsbpool.caching import CacheRequirements, RankCache
    from bsbpool.deadlines import DependencyDeadlines
    from bsbpool.jobs import Job
    from bsbpool.journal.pool_journal import PoolJournal
    from bsbpool.leaving.rules import LeavingRules
    from bsbpool.resources import Declaration
    from bsbpool.runs import Run, RunnablePool
    from bsbpool.settings import LeaderChoice, PoolSettings
    from bsbpool.spilling import ResultStore
    from bsbpool.submitters import SubmitterIndex

INTERRUPTING = TimeLimitReached, KeyboardInterrupt, Terminated
"""The errors of a run that interrupt its jobs. After other errors jobs run to their end."""


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
    has_timeouts, has_deadlines : bool
        Whether jobs with the option `timeout`, `dependency_timeout` were queued.
    ranks_of_jobs : dict
        The ranks that ran each job with the option `ranks`, in its last attempt.
    closed : bool
        Whether the ``with`` block of the pool has ended.
    strict : bool
        Whether a run of one process pickles functions, arguments and results.
    resources : mapping or None
        The resources of the ranks, as they were declared.
    times : JobTimes or None
        The times of jobs, if they are noted.
    function_parcel : callable or None
        Changes the pickle and the buffers of a function before they are sent.
    leaders : "auto", "node", int or None
        The choice of leaders, see `create_job_pool`.
    began, ended : float
        When the run began and ended, on the clock of `time.monotonic`; 0 before.
    main_works : bool or None
        Whether the main rank runs jobs, too, if there are others; None if nothing says so.
    leaving : LeavingRules or None
        When and how the run leaves in time, if it does.
    executing_threads : frozenset of int
        The threads that execute the run; empty while none does.
    run : Run
        The way in which this rank runs the jobs.
    journal : PoolJournal or None
        Records the jobs that end, on the main rank.
    on_attempt : callable or None
        Called with a job and the error of an attempt that failed, before the job runs again; on the
        main rank.
    """

    run: Run
    journal: PoolJournal | None = None
    on_attempt: Callable[[Any, BaseException], None] | None = None

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
        self.ranks_of_jobs: dict[int, tuple[int, ...]] = {}
        self.closed = self.has_timeouts = self.has_deadlines = self._started = False
        self.strict = False
        self.leaders: LeaderChoice = "auto"
        self.resources: Declaration | None = None
        self.times: JobTimes | None = None
        self.function_parcel: Callable[[bytes, list[memoryview]], Any] | None = None
        self.began = self.ended = 0.0
        self.main_works: bool | None = None
        self.leaving: LeavingRules | None = None
        self.executing_threads: frozenset[int] = frozenset()
        self._made_by = threading.get_ident()
        self._collect_results = collect_results

    def apply(self, settings: PoolSettings | None) -> None:
        """Apply the settings of the pool, before it takes jobs."""
        if settings is None:
            return
        self.strict, self.resources = settings.strict, settings.resources
        self.main_works = settings.main_works
        self.leaders, self.leaving = settings.leaders, settings.leaving
        if not settings.prefetch:
            self.engine.disable_prefetch(True)
        if settings.timestamps or settings.leaving:
            from bsbpool._core.jobs.job_times import JobTimes

            self.times = JobTimes(self.submitter)

    def make_limit(self, timeout: float | None, is_main: bool) -> TimeLimit:
        """Return the limit of the run; other ranks than the main rank have none."""
        if self.leaving is None or not is_main:
            return TimeLimit(timeout if is_main else None)
        from bsbpool.leaving.limit import LeavingLimit

        return LeavingLimit(timeout, self.leaving, self)

    def handling_signals(self) -> AbstractContextManager[None]:
        """Return a context in which SIGTERM ends the run, and other signals if the pool leaves."""
        if self.leaving is None:
            return raising_on_sigterm()
        from bsbpool.leaving.signals import leaving_on_signals

        return leaving_on_signals(self._leave)

    def _leave(self, signal: str, at: float) -> None:
        self.time_limit.leave(signal, at)
        self.run.wake()

    def open(self, run: Run, settings: PoolSettings | None) -> None:
        """Set the way in which this rank runs the jobs; open the journal on the main rank."""
        self.run = run
        journal = None if settings is None else settings.journal_options
        if journal is not None and (not run.parallel or self.comm.get_rank() == 0):
            from bsbpool.journal.pool_journal import PoolJournal

            self.journal = PoolJournal(self, journal)

    def close(self) -> None:
        """Close the journal, at the end of the ``with`` block."""
        self.closed = True
        if self.journal is not None:
            self.journal.close()

    def begin(self, limit: TimeLimit, results: dict[Any, Any] | None) -> None:
        """Prepare for the run; `results` is the dictionary to fill, or None."""
        self.time_limit, self.results = limit, results
        self.executing_threads = frozenset([threading.get_ident()])
        self.began = time.monotonic()

    def end(self, failed: bool = False) -> dict[Any, Any] | None:
        """Return the results of the run, which has ended; `failed` if its error is being raised."""
        self.ended = time.monotonic()
        self.executing_threads = frozenset()
        results, self.results = self.results, None
        if self.journal is not None:
            self.journal.end_run(failed)
        return results

    def check_waiting(self, timeout: float | None) -> None:
        """Raise JobPoolError if a wait of this thread for a job could not end."""
        if self.closed:
            reason = "the `with` block of its pool has ended without pool.execute()"
        elif timeout is not None:
            return
        elif threading.get_ident() in self.executing_threads:
            reason = "this thread executes the pool; use on_completion(), or wait in a scheduler"
        elif not self.run.parallel and self.schedulers.is_current_thread():
            reason = "with one process, jobs run when the schedulers have ended"
        elif not self.executing_threads and threading.get_ident() == self._made_by:
            reason = "the pool is not executing; call pool.execute() first"
        else:
            return
        raise exceptions.JobPoolError(f"A wait for a job would not end: {reason}")

    @property
    def worker_ranks(self) -> range:
        """The ranks that run jobs."""
        return range(not self.main_works, self.comm.get_size()) if self.run.parallel else range(1)

    @functools.cached_property
    def submitters(self) -> SubmitterIndex:
        """Finds the jobs that an object submitted."""
        from bsbpool.submitters import SubmitterIndex

        return SubmitterIndex()

    @functools.cached_property
    def deadlines(self) -> DependencyDeadlines:
        """How long jobs may wait for their dependencies."""
        from bsbpool.deadlines import DependencyDeadlines

        self.has_deadlines = True
        return DependencyDeadlines(
            self.engine, self.jobs, self.lock, lambda: self.run.wake(), self._started
        )

    def start_run(self) -> None:
        """Let jobs run from now on."""
        self._started = True
        if self.has_deadlines:
            self.deadlines.start()
        self.engine.start_run()

    def kept(self, value: Any) -> Any:
        """Return the object that a job keeps for a result of this process."""
        return value if self.store is None else self.store.keep_value(value)

    def check_time(self) -> None:
        """Raise TimeLimitReached when no time is left and some jobs have not ended."""
        # In this order: a job that a scheduler queues before it ends must be counted.
        if self.time_limit.is_over and (self.pool.scheduling or self.engine.unfinished):
            self.time_limit.stop_run()
        self.time_limit.check()

    def read_results(self) -> None:
        """Read the results that `execute` returns, while their errors can fail the run."""
        self.time_limit.run_ended()
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
        """Reserve and return the smallest free id from `id` on: ids made from the time repeat."""
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
        """Return the cache tokens of other pools of the owner: jobs may use pools of their own."""
        needed: set[int] = set()
        for other in list(self._contexts.values()):
            if other is not context and other.owner is context.owner is not None:
                needed.update(other.run.needed_tokens())
        return needed


open_pools = OpenPools()
