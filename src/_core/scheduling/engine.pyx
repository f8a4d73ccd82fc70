"""The tables of one pool, and their interface for Python.

Python code calls the methods of `Engine`; the compiled loops call the functions of `dispatcher` and
`worker_queues` on `Engine.d` directly.

Thread safety: any thread may queue or cancel jobs while the main thread runs the loop. The GIL
guards the tables. Every function that reads or changes them runs with the GIL held and calls no
Python code between its first and its last access, so that each event is atomic. The loops release
the GIL only to poll for messages and to wait, which touches no table. A free-threaded Python
enables its GIL when it imports these modules, which do not declare support for free threading.
"""
from bsbpool._core.scheduling.assignment cimport queues_assign
from bsbpool._core.scheduling.cache_refs cimport cache_add_item, cache_add_set
from bsbpool._core.scheduling.dispatcher cimport (
    dispatcher_abort_run,
    dispatcher_add_join,
    dispatcher_cancel,
    dispatcher_finish,
    dispatcher_start_job,
    dispatcher_start_run,
)
from bsbpool._core.scheduling.dispatcher_tables cimport (
    DEPENDENCY_FAILED,
    FAULT_ILLEGAL,
    FAULT_NO_MEMORY,
    FAULT_OUT_OF_ORDER,
    RUN_ENDED,
    TRACKED,
    action_t,
    change_t,
    dispatcher_free,
    dispatcher_init,
    job_t,
)
from bsbpool._core.scheduling.gangs cimport gang_has
from bsbpool._core.scheduling.graph cimport JOIN_ALL, N_JOIN_MODES
from bsbpool._core.scheduling.status cimport (
    FAILED, N_STATUSES, RUNNING, SUCCESS, status_is_terminal, status_name,
)
from bsbpool._core.scheduling.worker_queues cimport (
    queues_last_begun, queues_undo_send, queues_worker_failed,
)
from bsbpool._core.scheduling.workers cimport (
    workers_open, workers_set_available, workers_set_one_each,
)
from bsbpool._core.vector cimport ints_copy, ints_free, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free

assert sizeof(job_t) <= 16


cdef class Engine:
    """The job tables of one pool.

    Jobs, joins, cache items, cache sets and workers are numbered from 0 in the order in which they
    are added. Methods raise IndexError for numbers that do not exist.

    Parameters
    ----------
    statuses : sequence, optional
        The objects that methods return as statuses, in the order of `Status`, the default.
    """

    def __cinit__(self, statuses=None):
        if statuses is None:
            from bsbpool._core.scheduling.status import Status as statuses  # not for pools
        dispatcher_init(&self.d)
        self.unneeded_read = 0
        self.statuses = tuple(statuses)
        if len(self.statuses) != N_STATUSES:
            raise ValueError(f"statuses must have {N_STATUSES} elements, got {len(self.statuses)}")

    def __dealloc__(self):
        dispatcher_free(&self.d)

    def __len__(self):
        return self.d.n_jobs

    # ------------------------------------------------------------------ adding to the tables

    def add_join(self, jobs, uint8_t mode=JOIN_ALL):
        """Add a set of dependencies that several jobs can share; return its number.

        Parameters
        ----------
        jobs : iterable of int
            The members, each at most once.
        mode : int, optional
            When dependents may run: 0 when all members have succeeded, 1 after the first success,
            2 when all have ended in any way, 3 after the first failure. Dependents are cancelled
            as soon as this is impossible.
        """
        cdef ints_t ids = ints_t(NULL, 0, 0)
        cdef int32_t join
        if mode >= N_JOIN_MODES:
            raise ValueError(f"mode must be from 0 to {N_JOIN_MODES - 1}, got {mode}")
        ints_copy(&ids, jobs, self.d.n_jobs)
        join = dispatcher_add_join(&self.d, ids.data, ids.size, mode)
        ints_free(&ids)
        self.raise_fault()
        return join

    def add_cache_item(self, token):
        """Add the cache item that an unsigned 64-bit token identifies; return its number."""
        cdef uint64_t name = token
        cdef int32_t number = cache_add_item(&self.d.cache, name)
        if number < 0:
            raise MemoryError("out of memory, or too many cache items")
        return number

    def add_cache_set(self, items):
        """Add a set of cache items that several jobs can share; return its number."""
        cdef ints_t numbers = ints_t(NULL, 0, 0)
        cdef int32_t number
        ints_copy(&numbers, items, self.d.cache.n_items)
        number = cache_add_set(&self.d.cache, numbers.data, numbers.size)
        ints_free(&numbers)
        if number < 0:
            raise MemoryError("out of memory for cache sets")
        return number

    def open_workers(self, int32_t n):
        """Add `n` idle workers. Call it at most once, before jobs are assigned."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if self.d.workers.n:
            raise ValueError(f"the engine already has {self.d.workers.n} workers")
        if workers_open(&self.d.workers, n) < 0:
            raise MemoryError()

    # ------------------------------------------------------------------ events

    def start_run(self):
        """Allow jobs to run: those without unmet dependencies become QUEUED."""
        dispatcher_start_run(&self.d)
        self.raise_fault()

    def abort_run(self):
        """End the run: RUNNING jobs become ABORTED, PENDING and QUEUED jobs CANCELLED."""
        dispatcher_abort_run(&self.d)
        self.raise_fault()

    def start_job(self, int64_t job):
        """Make a job RUNNING in this process, before older jobs that are ready.

        Raises RuntimeError if the job has unmet dependencies, was sent to a worker, or has started.
        """
        cdef uint8_t old
        cdef int code
        self.check_job(job)
        old = self.d.jobs[job].status
        code = dispatcher_start_job(&self.d, <int32_t>job)
        self.raise_fault()
        if code < 0:
            raise RuntimeError(f"job {job} cannot change from {text(old)} to RUNNING")

    def finish(self, int64_t job, outcome):
        """End a job that runs in this process.

        Parameters
        ----------
        job : int
        outcome : int
            A terminal `Status`.

        Returns
        -------
        bool
            False if the job had ended before, for example because it was cancelled.
        """
        cdef uint8_t end = terminal_status(outcome)
        self.check_job(job)
        if status_is_terminal(self.d.jobs[job].status):
            return False
        dispatcher_finish(&self.d, <int32_t>job, end)
        self.raise_fault()
        return True

    def cancel(self, int64_t job, bint running=True):
        """Cancel a job unless it has ended; return its status before.

        Parameters
        ----------
        job : int
        running : bool, optional
            Whether to cancel the job if it is RUNNING.
        """
        cdef int old
        self.check_job(job)
        old = self.d.jobs[job].status
        if running or old != RUNNING:
            old = dispatcher_cancel(&self.d, <int32_t>job)
        self.raise_fault()
        return self.statuses[old]

    def revoke(self, int64_t job):
        """Change a job from SUCCESS to FAILED, since its result cannot be unpickled.

        This is outside of the table of transitions. Dependents of the job are not affected.
        """
        self.check_job(job)
        if self.d.jobs[job].status == SUCCESS:
            self.d.jobs[job].status = FAILED
            self.d.counts[<int>SUCCESS] -= 1
            self.d.counts[<int>FAILED] += 1

    def undo_send(self, int64_t job, outcome):
        """End a job that was assigned to a worker but could not be sent, with `outcome`."""
        cdef uint8_t end = terminal_status(outcome)
        self.check_job(job)
        queues_undo_send(&self.d, <int32_t>job, end)
        self.raise_fault()

    def worker_failed(self, int32_t worker, int32_t begun=-1):
        """Remove a worker that has died.

        Jobs that it had begun and that cannot be retried are ABORTED, others are QUEUED again.

        Parameters
        ----------
        worker : int
        begun : int, optional
            The last job that it began; -2: none; -1: unknown, only its first job counts as begun.
        """
        queues_worker_failed(&self.d, worker, begun)
        self.raise_fault()

    def set_available(self, int32_t worker, bint available):
        """Set whether a worker may get jobs."""
        self.check_worker(worker)
        workers_set_available(&self.d.workers, worker, available)

    def disable_prefetch(self, bint disabled):
        """Set whether workers get one job at a time, the one that was idle longest first."""
        workers_set_one_each(&self.d.workers, disabled)

    # ------------------------------------------------------------------ queries

    def status(self, int64_t job):
        """Return the status of a job."""
        self.check_job(job)
        return self.statuses[self.d.jobs[job].status]

    def counts(self):
        """Return the number of jobs in each status, in the order of `Status`."""
        return tuple(self.d.counts[i] for i in range(N_STATUSES))

    @property
    def unfinished(self):
        """The number of jobs that have not ended."""
        return self.d.unfinished

    @property
    def ready(self):
        """The number of jobs that may run and are not assigned to a worker."""
        return self.d.ready.count + self.d.special.n_ready

    @property
    def idle(self):
        """Whether no job is ready, assigned to a worker, or running."""
        return (
            self.ready == 0
            and self.d.workers.in_flight == 0
            and self.d.counts[<int>RUNNING] == 0
        )

    def dependency_failed(self, int64_t job):
        """Return whether a job was cancelled because a dependency did not succeed."""
        self.check_job(job)
        return bool(self.d.jobs[job].flags & DEPENDENCY_FAILED)

    def ended_by_run(self, int64_t job):
        """Return whether a job was cancelled or aborted by the end of the run."""
        self.check_job(job)
        return bool(self.d.jobs[job].flags & RUN_ENDED)

    def is_sent(self, int64_t job):
        """Return whether a job is in the queue of a worker."""
        self.check_job(job)
        return self.d.jobs[job].worker >= 0

    @property
    def n_unavailable(self):
        """The number of workers that may not get jobs."""
        return self.d.workers.n_unavailable

    def running_job(self, int32_t worker):
        """Return the job that a worker runs, or None."""
        cdef int32_t job
        self.check_worker(worker)
        job = self.d.workers.slots[worker].first
        return None if job < 0 else job

    def begun_jobs(self, int32_t worker, int32_t begun=-1):
        """Return the jobs in the queue of a worker that `worker_failed` would regard as begun."""
        cdef int32_t job
        cdef int32_t last
        self.check_worker(worker)
        jobs = []
        job = self.d.workers.slots[worker].first
        if job != -1 and gang_has(&self.d, worker, job):
            return [job]  # other members may have begun it
        last = queues_last_begun(&self.d, worker, begun)
        job = self.d.workers.slots[worker].first if last != -1 else -1
        while job != -1:
            jobs.append(job)
            job = self.d.jobs[job].next if job != last else -1
        return jobs

    @property
    def needed_items(self):
        """The tokens of the cache items that unfinished jobs need."""
        return [
            self.d.cache.items[i].token
            for i in range(self.d.cache.n_items)
            if self.d.cache.items[i].ref_count and not self.d.cache.items[i].is_data
        ]

    def pop_unneeded(self):
        """Return the tokens of the cache items that became unneeded since the last call."""
        cdef int32_t item
        tokens = []
        while self.unneeded_read < self.d.cache.changed.size:
            item = self.d.cache.changed.data[self.unneeded_read]
            self.unneeded_read += 1
            if self.d.cache.items[item].ref_count == 0:
                tokens.append(self.d.cache.items[item].token)
        return tokens

    # ------------------------------------------------------------------ changes

    def track(self, int64_t job):
        """Record the status changes of a job from now on; return its present status."""
        self.check_job(job)
        self.d.jobs[job].flags |= TRACKED
        return self.statuses[self.d.jobs[job].status]

    def track_all(self):
        """Record the status changes of all jobs from now on."""
        self.d.track_all = True

    # ------------------------------------------------------------------ for the core

    cdef int64_t detach_actions(self, action_t **actions) except -1:
        """Assign jobs to workers; move out the array of actions, which the caller frees."""
        cdef int64_t n
        queues_assign(&self.d)
        n = self.d.n_actions
        actions[0] = self.d.actions
        self.d.actions = NULL
        self.d.n_actions = self.d.action_capacity = 0
        if self.d.fault:
            free(actions[0])
            actions[0] = NULL
            self.raise_fault()
        return n

    cdef int64_t detach_changes(self, change_t **changes) noexcept:
        """Move out the array of recorded changes, which the caller frees."""
        cdef int64_t n = self.d.n_changes
        changes[0] = self.d.changes
        self.d.changes = NULL
        self.d.n_changes = self.d.change_capacity = 0
        return n

    cdef int check_job(self, int64_t job) except -1:
        if not 0 <= job < self.d.n_jobs:
            raise IndexError(f"job {job} does not exist; the pool has {self.d.n_jobs} jobs")
        return 0

    cdef int check_worker(self, int32_t worker) except -1:
        if not 0 <= worker < self.d.workers.n:
            raise IndexError(f"worker {worker} does not exist; the engine has {self.d.workers.n}")
        return 0

    cdef int raise_fault(self) except -1:
        """Raise the first fault of the tables, if any. The tables are not consistent after one."""
        cdef change_t at = self.d.illegal
        if self.d.fault == FAULT_NO_MEMORY:
            raise MemoryError("out of memory for the tables of jobs")
        if self.d.fault == FAULT_ILLEGAL:
            raise RuntimeError(
                f"job {at.job} cannot change from {text(at.old)} to {text(at.new)}"
            )
        if self.d.fault == FAULT_OUT_OF_ORDER:
            raise RuntimeError("a worker reported the end of a job that it was not running")
        return 0


cdef int terminal_status(outcome) except -1:
    """Return `outcome` as a number. It may run Python code, so call it before changing tables."""
    cdef int number = outcome
    if not 0 <= number < N_STATUSES or not status_is_terminal(<uint8_t>number):
        raise ValueError(f"outcome must be a terminal status, got {outcome!r}")
    return number


cdef str text(uint8_t status):
    return status_name(status).decode()
