"""The dispatcher for Python: one pool's tables behind a lock.

Threads: any may queue or cancel jobs while the loop runs. A mutex guards the
struct, so that this does not rest on the GIL alone (a Python without one, parts of
the loop that let go of it). It is never held while Python code runs, and nobody who
holds it waits for the GIL.
"""
from bsbpool._core.scheduling cimport cache_refs
from bsbpool._core.scheduling.dispatcher cimport (
    ADDED,
    BROKEN,
    CUT_OFF,
    FAULT_ILLEGAL,
    FAULT_NO_MEMORY,
    FAULT_OUT_OF_ORDER,
    SEND,
    TRACKED,
    action_t,
    change_t,
    dispatcher_begin,
    dispatcher_cancel,
    dispatcher_end,
    dispatcher_finish,
    dispatcher_free,
    dispatcher_init,
    dispatcher_join,
    dispatcher_start,
    dispatcher_submit,
    dispatcher_take,
)
from bsbpool._core.scheduling.worker_queues cimport (
    queues_assign,
    queues_begun,
    queues_done,
    queues_hold,
    queues_lose,
    queues_stolen,
    queues_unsend,
)
from bsbpool._core.scheduling.status cimport FAILED, N_STATUSES, RUNNING, SUCCESS, status_is_terminal
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from bsbpool._core.scheduling.workers cimport workers_open
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free

from bsbpool._core.scheduling.status import Status

cdef class Engine:
    """The job tables of one pool.

    Methods may be called from any thread. Job ids count up from 0 in the order
    of `submit`; a cache set is made once by `cache_set` and shared by jobs.

    Parameters
    ----------
    statuses : sequence, optional
        What stands for each status in what is returned; `Status` by default.
    """

    def __cinit__(self, statuses=Status):
        dispatcher_init(&self.d)
        pthread_mutex_init(&self.mutex, NULL)
        self.told_unneeded = 0
        self.statuses = tuple(statuses)
        if len(self.statuses) != N_STATUSES:
            raise ValueError(f"statuses: {N_STATUSES} are needed, not {len(self.statuses)}")

    def __dealloc__(self):
        dispatcher_free(&self.d)
        pthread_mutex_destroy(&self.mutex)

    cdef void lock(self) noexcept nogil:
        pthread_mutex_lock(&self.mutex)

    cdef void unlock(self) noexcept nogil:
        pthread_mutex_unlock(&self.mutex)

    cdef int raise_fault(self) except -1:
        """Raise what went wrong inside; the tables cannot be trusted after it."""
        cdef change_t at = self.d.illegal
        if self.d.fault == FAULT_NO_MEMORY:
            raise MemoryError("no memory for more jobs")
        if self.d.fault == FAULT_ILLEGAL:
            raise RuntimeError(
                f"job {at.job} cannot change from {Status(at.old).name} to {Status(at.new).name}"
            )
        if self.d.fault == FAULT_OUT_OF_ORDER:
            raise RuntimeError("a worker reported the end of a job that it was not running")
        return 0

    cdef int known(self, int64_t job) except -1:
        if not 0 <= job < self.d.n_jobs:
            raise IndexError(f"no job {job}")
        return 0

    # Making jobs

    def submit(self, deps=(), int32_t join=-1, int32_t cache_set=-1, bint tracked=False):
        """Add a job that waits for the ids `deps` and the join; return its id."""
        cdef ints_t ids
        cdef int32_t job
        if not -1 <= join < self.d.graph.n_joins:
            raise IndexError(f"no join {join}")
        if not -1 <= cache_set < self.d.cache.n_sets:
            raise IndexError(f"no cache set {cache_set}")
        fill(&ids, deps, self.d.n_jobs)
        self.lock()
        job = dispatcher_submit(
            &self.d, ids.data, ids.size, join, cache_set, TRACKED if tracked else 0
        )
        self.unlock()
        ints_free(&ids)
        self.raise_fault()
        return job

    def join(self, jobs):
        """Make a set of dependencies that many jobs can share; return its number."""
        cdef ints_t ids
        fill(&ids, jobs, self.d.n_jobs)
        self.lock()
        cdef int32_t join = dispatcher_join(&self.d, ids.data, ids.size)
        self.unlock()
        ints_free(&ids)
        self.raise_fault()
        return join

    def cache_item(self, token):
        """Add a cache item known to all ranks as the 64-bit `token`; return its number."""
        cdef uint64_t name = token
        self.lock()
        cdef int32_t number = cache_refs.cache_item(&self.d.cache, name)
        self.unlock()
        if number < 0:
            raise MemoryError("too many cache items")
        return number

    def cache_set(self, items):
        """Make a set of cache items for jobs to share; return its number."""
        cdef ints_t numbers
        fill(&numbers, items, self.d.cache.n_items)
        self.lock()
        cdef int32_t number = cache_refs.cache_set(&self.d.cache, numbers.data, numbers.size)
        self.unlock()
        ints_free(&numbers)
        if number < 0:
            raise MemoryError("too many cache sets")
        return number

    # Driving

    def start(self):
        """Let jobs run; those that wait for nothing become QUEUED."""
        self.lock()
        dispatcher_start(&self.d)
        self.unlock()
        self.raise_fault()

    def take(self):
        """Take the next ready job as RUNNING in this process; None when there is none."""
        self.lock()
        cdef int32_t job = dispatcher_take(&self.d)
        self.unlock()
        self.raise_fault()
        return None if job < 0 else job

    def begin(self, int64_t job):
        """Make a job that waits for nothing RUNNING in this process, out of turn.

        Raises
        ------
        RuntimeError
            When the job waits or has begun already; nothing is changed then.
        """
        cdef uint8_t old
        cdef int code
        self.known(job)
        self.lock()
        old = self.d.jobs[job].status
        code = dispatcher_begin(&self.d, <int32_t>job)
        self.unlock()
        self.raise_fault()
        if code < 0:
            raise RuntimeError(f"job {job} cannot change from {Status(old).name} to RUNNING")

    def finish(self, int64_t job, outcome):
        """End a job from `take`; False when it was cancelled meanwhile."""
        cdef uint8_t end = ending(outcome)
        cdef bint live
        self.known(job)
        self.lock()
        live = not status_is_terminal(self.d.jobs[job].status)
        if live:
            dispatcher_finish(&self.d, <int32_t>job, end)
        self.unlock()
        self.raise_fault()
        return live

    def cancel(self, int64_t job, bint running=True):
        """Cancel a job and return the status it had before; one that runs only if `running`."""
        cdef int old
        self.known(job)
        self.lock()
        old = self.d.jobs[job].status
        if running or old != RUNNING:
            old = dispatcher_cancel(&self.d, <int32_t>job)
        self.unlock()
        self.raise_fault()
        return self.statuses[old]

    def end(self):
        """End the run early: RUNNING jobs are ABORTED, the others CANCELLED."""
        self.lock()
        dispatcher_end(&self.d)
        self.unlock()
        self.raise_fault()

    # Workers; a serial run has none

    def open_workers(self, int32_t n):
        """Make `n` workers, numbered from 0. Once, before any job is assigned."""
        if self.d.workers.n or n < 1:
            raise ValueError("n: workers are opened once, and at least one")
        self.lock()
        cdef int code = workers_open(&self.d.workers, n)
        self.unlock()
        if code < 0:
            raise MemoryError()

    cdef int64_t take_actions(self, action_t **actions) except -1:
        """Assign jobs; hand over the array of actions, which the caller frees."""
        cdef int64_t n
        self.lock()
        queues_assign(&self.d)
        n = self.d.n_actions
        actions[0] = self.d.actions
        self.d.actions = NULL
        self.d.n_actions = self.d.action_capacity = 0
        self.unlock()
        if self.d.fault:
            free(actions[0])
            actions[0] = NULL
            self.raise_fault()
        return n

    def assign(self):
        """Give ready jobs to workers; return the actions as (kind, worker, job)."""
        cdef action_t *actions
        cdef int64_t n = self.take_actions(&actions)
        cdef int64_t i
        try:
            return [
                ("SEND" if actions[i].kind == SEND else "WITHDRAW",
                 actions[i].worker, actions[i].job)
                for i in range(n)
            ]
        finally:
            free(actions)

    def done(self, int32_t worker, int64_t job, outcome, double run_ns=1000.0):
        """A worker reports the end of the first of its jobs."""
        cdef uint8_t end = ending(outcome)
        self.known(job)
        self.lock()
        queues_done(&self.d, worker, <int32_t>job, end, run_ns)
        self.unlock()
        self.raise_fault()

    def give_back(self, int32_t worker, int64_t job):
        """A worker hands back a job that it has not started."""
        self.known(job)
        self.lock()
        queues_stolen(&self.d, worker, <int32_t>job)
        self.unlock()
        self.raise_fault()

    def lose(self, int32_t worker, int32_t begun=-1):
        """A worker is gone: end what it had begun, let others have the rest of its jobs.

        Parameters
        ----------
        worker : int
            Its number.
        begun : int
            The job that it began last; -1 when nobody knows: then the first one of its line
            counts as begun; -2 when it began none.
        """
        self.lock()
        queues_lose(&self.d, worker, begun)
        self.unlock()
        self.raise_fault()

    def hold(self, int32_t worker, bint held=True):
        """Give a worker no jobs from here on, or (not `held`) give it some again."""
        if not 0 <= worker < self.d.workers.n:
            raise IndexError(f"no worker {worker}")
        self.lock()
        queues_hold(&self.d, worker, held)
        self.unlock()

    def unsend(self, int64_t job, outcome):
        """Take back a job whose SEND action could not be carried out."""
        cdef uint8_t end = ending(outcome)
        self.known(job)
        self.lock()
        queues_unsend(&self.d, <int32_t>job, end)
        self.unlock()
        self.raise_fault()

    def revoke(self, int64_t job):
        """Turn SUCCESS into FAILED, since the result cannot be read. Its dependents have run."""
        self.known(job)
        self.lock()
        if self.d.jobs[job].status == SUCCESS:
            self.d.jobs[job].status = FAILED
            self.d.counts[<int>SUCCESS] -= 1
            self.d.counts[<int>FAILED] += 1
        self.unlock()

    # Looking

    def is_sent(self, int64_t job):
        """Whether a worker has the job."""
        self.known(job)
        return self.d.jobs[job].worker >= 0

    def running_on(self, int32_t worker):
        """Return the job that a worker runs, None when it runs none."""
        cdef int32_t job
        if not 0 <= worker < self.d.workers.n:
            raise IndexError(f"no worker {worker}")
        job = self.d.workers.slots[worker].first
        return None if job < 0 else job

    def begun_on(self, int32_t worker, int32_t begun=-1):
        """Return the jobs of a worker's line that it has begun, as `lose` would see it."""
        cdef int32_t job
        cdef int32_t last
        if not 0 <= worker < self.d.workers.n:
            raise IndexError(f"no worker {worker}")
        jobs = []
        last = queues_begun(&self.d, worker, begun)
        job = self.d.workers.slots[worker].first if last != -1 else -1
        while job != -1:
            jobs.append(job)
            job = self.d.jobs[job].next if job != last else -1
        return jobs

    @property
    def n_away(self):
        """How many workers get no jobs."""
        return self.d.workers.n_away

    def __len__(self):
        return self.d.n_jobs

    def status(self, int64_t job):
        """Return the status of a job."""
        cdef uint8_t status
        self.known(job)
        self.lock()
        status = self.d.jobs[job].status
        self.unlock()
        return self.statuses[status]

    def is_broken(self, int64_t job):
        """Whether a dependency's failure cancelled the job."""
        self.known(job)
        return bool(self.d.jobs[job].flags & BROKEN)

    def is_cut_off(self, int64_t job):
        """Whether the end of the run cancelled or aborted the job."""
        self.known(job)
        return bool(self.d.jobs[job].flags & CUT_OFF)

    def counts(self):
        """Return the number of jobs in each status, in the order of `Status`."""
        return tuple(self.d.counts[i] for i in range(N_STATUSES))

    @property
    def unfinished(self):
        """How many jobs have not ended."""
        return self.d.unfinished

    @property
    def ready(self):
        """How many jobs may run and have not been given to anybody."""
        return self.d.ready.count

    @property
    def idle(self):
        """Whether no job is ready, sent or running."""
        return (
            self.d.ready.count == 0
            and self.d.workers.in_flight == 0
            and self.d.counts[<int>RUNNING] == 0
        )

    @property
    def needed_items(self):
        """The tokens of the cache items that an unfinished job needs."""
        return [
            self.d.cache.items[i].token
            for i in range(self.d.cache.n_items)
            if self.d.cache.items[i].needed_by
        ]

    def take_unneeded(self):
        """Return the tokens of the items that became unneeded since the last call."""
        cdef int32_t item
        tokens = []
        while self.told_unneeded < self.d.cache.changed.size:
            item = self.d.cache.changed.data[self.told_unneeded]
            self.told_unneeded += 1
            if self.d.cache.items[item].needed_by == 0:
                tokens.append(self.d.cache.items[item].token)
        return tokens

    # Watching

    def track(self, int64_t job):
        """Record the changes of this job from now on; return its present status."""
        cdef uint8_t status
        self.known(job)
        self.lock()
        self.d.jobs[job].flags |= TRACKED
        status = self.d.jobs[job].status
        self.unlock()
        return self.statuses[status]

    def track_all(self):
        """Record the changes of all jobs from now on."""
        self.d.track_all = True

    cdef int64_t take_log(self, change_t **changes) noexcept:
        """Hand over the array of changes recorded so far, which the caller frees."""
        cdef int64_t n
        self.lock()
        n = self.d.n_changes
        changes[0] = self.d.changes
        self.d.changes = NULL
        self.d.n_changes = self.d.change_capacity = 0
        self.unlock()
        return n

    def take_changes(self):
        """Return the changes recorded since the last call as (job, old, new).

        Jobs that came in are left out.
        """
        cdef change_t *changes
        cdef int64_t n = self.take_log(&changes)
        cdef int64_t i
        try:
            return [
                (changes[i].job, self.statuses[changes[i].old], self.statuses[changes[i].new])
                for i in range(n)
                if changes[i].old != ADDED
            ]
        finally:
            free(changes)


cdef int ending(outcome) except -1:
    """Return how a job is to end as a number. Before locking: it may run Python code."""
    cdef int number = outcome
    if not 0 <= number < N_STATUSES or not status_is_terminal(<uint8_t>number):
        raise ValueError(f"{outcome!r} is not a status that a job ends with")
    return number


cdef int fill(ints_t *ids, items, int64_t below) except -1:
    """Copy ids into a new vector, each checked to be known; frees it on an error."""
    cdef int64_t number
    ids.data = NULL
    ids.size = ids.capacity = 0
    try:
        for item in items:
            number = item
            if not 0 <= number < below:
                raise IndexError(f"{number} is not known here")
            if ints_push(ids, <int32_t>number) < 0:
                raise MemoryError()
    except BaseException:
        ints_free(ids)
        raise
    return 0
